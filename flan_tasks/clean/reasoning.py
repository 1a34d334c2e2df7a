"""Reasoning: a question, its answer and the steps that lead there."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import squeeze, untokenize

# GSM8K marks what a calculator worked out: "48/2 = <<48/2=24>>24".
_CALCULATION = re.compile(r"<<.*?>>")
_FINAL_ANSWER_MARK = "####"

# A cell of a chain-of-thought TSV holds its line ends as a backslash and an n.
_LINE_END = re.compile(r"\\+n")
_UNFINISHED = re.compile(r"[\w)%]$")

# e-SNLI's classes in the order of TFDS's and the Hub's integers: entailed, neutral, contradicted.
_FOLLOWS = ("yes", "it is not possible to tell", "no")
_TRUE = {"true": "yes", "false": "no"}


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


def explained(row: Mapping[str, Any]) -> Fields:
    """A question with its answer and rationale, from a row of a chain-of-thought TSV."""
    question, answer, steps = (
        squeeze(_LINE_END.sub("\n", row[column]))
        for column in ("question", "answer", "chain_of_thought")
    )
    if not steps:
        raise Drop("no chain of thought")
    return {"question": question, "answer": answer, "chain_of_thought": _ended(steps)}


def creak(row: Mapping[str, Any]) -> Fields:
    """A claim to be judged, from the chain-of-thought TSV or from CREAK's own JSON lines."""
    if "chain_of_thought" in row:
        return explained(row)
    if row["label"] not in _TRUE:
        raise Drop("no label")
    claim = f'Claim: "{row["sentence"]}"\nIs this claim true?'
    return explained(
        {
            "question": _with_options(claim, ("yes", "no")),
            "answer": _TRUE[row["label"]],
            "chain_of_thought": row["explanation"],
        }
    )


def esnli(row: Mapping[str, Any]) -> Fields:
    """Two sentences, whether one follows from the other, and the first explanation why.

    Reads the chain-of-thought TSV and TFDS's and the Hub's rows {premise, hypothesis, label,
    explanation_1}.
    """
    if "chain_of_thought" in row:
        return explained(row)
    if row["label"] not in range(len(_FOLLOWS)):
        raise Drop("no label")
    sentences = f'Premise: "{row["premise"]}"\nHypothesis: "{row["hypothesis"]}"'
    asked = f"{sentences}\nIs the hypothesis true if the premise is?"
    return explained(
        {
            "question": _with_options(asked, _FOLLOWS),
            "answer": _FOLLOWS[row["label"]],
            "chain_of_thought": row["explanation_1"],
        }
    )


def qed(row: Mapping[str, Any]) -> Fields:
    """A passage, a question and its answer; the sentence that holds it, and who is meant in it.

    Reads the chain-of-thought TSV, the published JSON lines and the Hub's rows, which write
    `question` for `question_text`. The texts are tokenised, the questions are not.
    """
    if "chain_of_thought" in row:
        return explained(row)
    notes = row["annotation"]
    if notes["explanation_type"] != "single_sentence":
        raise Drop("not explained by a single sentence")
    passage = f"{row['title_text']}\n\n{untokenize(row['paragraph_text'])}"
    question = row.get("question_text") or row["question"]
    answers = [untokenize(each["sentence_reference"]["string"]) for each in notes["answer"]]
    sentence = untokenize(notes["selected_sentence"]["string"])
    references = " ".join(filter(None, map(_reference, notes["referential_equalities"])))
    return explained(
        {
            "question": f"{passage}\n\nGoing by this passage, {question.rstrip('?')}?",
            "answer": ", ".join(answers),
            "chain_of_thought": f"The passage says: {sentence}\n{references}",
        }
    )


def _reference(equality: Mapping[str, Any]) -> str:
    """How expressions of the sentence and of the question hang together; empty if they are one."""
    asked, said = equality["question_reference"]["string"], equality["sentence_reference"]
    expression = untokenize(said["string"])
    bridge = said["bridge"]  # a preposition; false in the published lines, null on the Hub: none
    if not bridge:
        if expression.casefold() == asked.casefold():
            return ""
        return f'"{expression}" is what the question calls "{asked}".'
    if not expression:
        return f'It is to be read with "{bridge} {asked}" in mind.'
    return f'"{expression}" is to be read as "{expression} {bridge} {asked}".'


def _with_options(question: str, options: Sequence[str]) -> str:
    """The question as the chain-of-thought TSVs write one: the answers in a list below it."""
    return "\n".join([question, "Options:", *(f"- {option}" for option in options)])


def _ended(text: str) -> str:
    """Text with a full stop, where it has no mark at its end: more is going to follow it."""
    return f"{text}." if _UNFINISHED.search(text) else text
