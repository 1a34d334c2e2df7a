"""Text editing: an English text, and the same with something missing that is to be put back.

All read the English side of a translation corpus: TFDS's rows, {da: "…", en: "…"}, and the Hub's,
which hold that under `translation`.
"""

import re
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

# Quotes, brackets, dashes and dots of omission wherever they stand; the other marks at the end of a
# word: those inside one belong to it (3.5, 10:30, example.com, 1998-2004).
_PUNCTUATION = re.compile(r"[\"“”„«»()\[\]{}—…]|[.,;:!?–-](?!\w)|(?<!\w)[.,;:!?–-](?=[^\W\d])")


def true_case(row: Mapping[str, Any]) -> Fields:
    """A text without capital letters, and as it was; texts that had none are dropped."""
    text = _english(row)
    if text == text.lower():
        raise Drop("no capital letter")
    return {"lower": text.lower(), "answer": text}


def fix_punct(row: Mapping[str, Any]) -> Fields:
    """A text without punctuation, and as it was; texts that had none are dropped.

    Apostrophes stay, and whatever stands inside a word or a number.
    """
    text = _english(row)
    bare = " ".join(_PUNCTUATION.sub(" ", text).split())
    if not bare or bare == text:
        raise Drop("no punctuation, or nothing else")
    return {"no_punct": bare, "answer": text}


def word_segment(row: Mapping[str, Any]) -> Fields:
    """A text without spaces, and as it was."""
    text = _english(row)
    return {"no_space": text.replace(" ", ""), "answer": text}


def _english(row: Mapping[str, Any]) -> str:
    """The row's English text, each stretch of white space in it one space."""
    text = " ".join(row.get("translation", row)["en"].split())
    if not text:
        raise Drop("no text")
    return text
