"""Instructions: a task's definition, with an input and an output."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields, tidy

# What a prompt calls the parts of a task's first two positive examples.
_SHOWN = ("positive", "second")


def niv2(row: Mapping[str, Any]) -> Fields:
    """An instance of a Super-Natural Instructions task.

    Reads the published JSON (the instance merged with its task's Definition and Positive Examples),
    TFDS's rows and the Hub's, which call the instance's columns "inputs" and "targets". Those two
    carry no examples: the fields of both positive examples are then empty, as they are where a task
    has fewer. A positive example that is the row itself would tell its answer; it is passed over.

    Raises:
      Drop: no output, no input or no definition.
      TypeError: a text is something else.
    """
    outputs = _texts(row["targets" if "targets" in row else "output"], "the output")
    definition = _texts(
        row["Definition" if "Definition" in row else "definition"], "the definition"
    )
    asked = _text(row["inputs" if "inputs" in row else "input"], "the input")
    for name, found in (("answer", outputs), ("definition", definition), ("input", asked)):
        if not found:
            raise Drop(f"no {name}")
    others = (each for each in _examples(row) if each["input"] != asked)
    shown = list(itertools.islice(others, len(_SHOWN)))
    fields: Fields = {
        "definition": definition[0],
        "input": asked,
        "output": outputs[0],
        "outputs": outputs,
    }
    for number, name in enumerate(_SHOWN):
        example = shown[number] if number < len(shown) else {}
        for part in ("input", "output", "explanation"):
            fields[f"{name}_{part}"] = example.get(part, "")
    return fields


def _examples(row: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """The positive examples that have both an input and an output."""
    for number, example in enumerate(row.get("Positive Examples") or (), start=1):
        if not isinstance(example, Mapping):
            raise TypeError(f"positive example {number} is {example!r}, not an object")
        where = f"of positive example {number}"
        parts = {
            "input": _text(example.get("input", ""), f"the input {where}"),
            "output": _first(example.get("output", ""), f"the output {where}"),
            "explanation": _first(example.get("explanation", ""), f"the explanation {where}"),
        }
        if parts["input"] and parts["output"]:
            yield parts


def _first(value: Any, name: str) -> str:
    return next(iter(_texts(value, name)), "")


def _texts(value: Any, name: str) -> list[str]:
    """One text or a list of them, as a list without blank and repeated ones."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise TypeError(f"{name} is {value!r}, neither a text nor a list of texts")
    texts = dict.fromkeys(_text(each, name) for each in value)
    return [text for text in texts if text]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, not a text")
    return str(tidy(value))
