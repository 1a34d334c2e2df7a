"""Summarization: a long text and its summary."""

import re
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

# Articles are longer than most models' targets; an opening is what can be asked for.
_OPENING_WORDS = 40
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'A-Z])")


def cnn_dailymail(row: Mapping[str, Any]) -> Fields:
    """A news article, its opening, and its highlights, one to a line."""
    text, highlights = row["article"].strip(), row["highlights"].strip()
    if not text:
        raise Drop("no article")
    lines = (line.strip() for line in highlights.splitlines())
    return {
        "text": text,
        "opening": opening(text),
        "highlights": "\n".join(line for line in lines if line),
    }


def opening(text: str) -> str:
    """The first sentences of a text, of at least forty words together, or all of it."""
    sentences = _SENTENCE_END.split(text)
    taken: list[str] = []
    while sentences and len(" ".join(taken).split()) < _OPENING_WORDS:
        taken.append(sentences.pop(0))
    return " ".join(taken)
