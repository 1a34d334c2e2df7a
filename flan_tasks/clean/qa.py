"""Question answering: yes/no and extractive."""

from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

# SuperGLUE puts a passage's title in front of it.
_TITLE_MARK = " -- "


def bool_q(row: Mapping[str, Any]) -> Fields:
    """A yes/no question on a passage; label 0 is no, 1 is yes.

    Reads BoolQ as its authors (and TFDS) publish it, {question, title, answer, passage}, and as
    SuperGLUE does, {question, passage: "Title -- text", label}.
    """
    title, text = row.get("title"), row["passage"]
    if title is None:
        before, mark, after = text.partition(_TITLE_MARK)
        title, text = (before, after) if mark else ("", text)
    answer = row["label"] if "label" in row else row["answer"]
    if answer is None or answer == -1:
        raise Drop("no label")
    return {"title": title, "text": text, "question": row["question"], "label": _yes_or_no(answer)}


def squad(row: Mapping[str, Any]) -> Fields:
    """An extractive question: the first answer as target, every distinct one as reference.

    Reads TFDS's and the Hub's rows, answers: {text: [...]}, and the published JSON's, answers:
    [{text, answer_start}].
    """
    answers = row["answers"]
    texts = answers["text"] if isinstance(answers, Mapping) else [each["text"] for each in answers]
    distinct = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    if not distinct:
        raise Drop("no answer")
    return {
        # TFDS and the JSON write a title as in its URL.
        "title": row["title"].replace("_", " "),
        "context": row["context"],
        "question": row["question"],
        "answer": distinct[0],
        "answers": distinct,
    }


def _yes_or_no(answer: Any) -> int:
    """0 or 1 for a truth value in any of the ways in which it is written."""
    meaning = {"false": 0, "0": 0, "no": 0, "true": 1, "1": 1, "yes": 1}
    text = str(answer).strip().lower()
    if text not in meaning:
        raise ValueError(f"{answer!r} is neither true nor false")
    return meaning[text]
