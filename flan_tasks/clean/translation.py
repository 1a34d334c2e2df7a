"""Translation: a sentence in one language and the same in another."""

from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

_ENGLISH = "en"
_LANGUAGES = {"es": "Spanish", "fr": "French"}


def into_english(row: Mapping[str, Any]) -> Fields:
    """A sentence in another language and its English translation; the card names the language.

    Reads TFDS's rows, {de: "…", en: "…"}, and the Hub's, which hold that under `translation`.
    """
    _, other, english = _pair(row)
    return {"sent1": other, "sent2": english}


def from_english(row: Mapping[str, Any]) -> Fields:
    """An English sentence, its translation, and both languages' names.

    Reads the same rows as `into_english`.
    """
    code, other, english = _pair(row)
    return {"lang1": "English", "lang2": _LANGUAGES[code], "sent1": english, "sent2": other}


def _pair(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """The other language's code, the sentence in it, and the English one."""
    texts = row.get("translation", row)
    others = texts.keys() - {_ENGLISH}
    if _ENGLISH not in texts or len(others) != 1:
        raise ValueError(f"English and one other language are wanted, not {', '.join(texts)}")
    code = others.pop()
    if not texts[code].strip() or not texts[_ENGLISH].strip():
        raise Drop("one language only")
    return code, texts[code], texts[_ENGLISH]
