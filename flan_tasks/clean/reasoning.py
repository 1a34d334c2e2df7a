"""Reasoning: a question, its answer and the steps that lead there."""

import re
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

# GSM8K marks what a calculator worked out: "48/2 = <<48/2=24>>24".
_CALCULATION = re.compile(r"<<.*?>>")
_FINAL_ANSWER_MARK = "####"


def gsm8k(row: Mapping[str, Any]) -> Fields:
    """A word problem; the chain of thought is free of calculator marks and of the final answer.

    Reads the chain-of-thought TSV, {question, answer, chain_of_thought}, and the published JSONL
    and TFDS rows, whose answer is "steps #### final answer".
    """
    if "chain_of_thought" in row:
        steps, answer = row["chain_of_thought"], row["answer"]
    else:
        steps, mark, answer = row["answer"].partition(_FINAL_ANSWER_MARK)
        if not mark:
            raise Drop("no final answer")
    steps = _CALCULATION.sub("", steps).strip()
    if not steps:
        raise Drop("no chain of thought")
    return {"question": row["question"], "answer": answer, "chain_of_thought": steps}
