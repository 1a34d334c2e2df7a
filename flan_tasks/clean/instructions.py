"""Instructions: a task's definition, with an input and an output."""

from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields


def niv2(row: Mapping[str, Any]) -> Fields:
    """An instance of a Super-Natural Instructions task.

    Reads the published JSON (the instance merged with its task's Definition and Positive Examples)
    and TFDS's rows, which carry no examples: the three `positive_` fields are then empty.
    """
    outputs = [text.strip() for text in _listed(row["output"])]
    outputs = list(dict.fromkeys(text for text in outputs if text))
    if not outputs:
        raise Drop("no answer")
    definitions = _listed(row["Definition"] if "Definition" in row else row["definition"])
    positive: Mapping[str, Any] = next(iter(row.get("Positive Examples", ())), {})
    return {
        "definition": definitions[0],
        "input": row["input"],
        "output": outputs[0],
        "outputs": outputs,
        "positive_input": positive.get("input", ""),
        "positive_output": "\n".join(_listed(positive.get("output", ""))),
        "positive_explanation": positive.get("explanation", ""),
    }


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
