"""From a decoded output to what the metrics compare."""

from collections.abc import Iterable, Mapping
from typing import Any


class References(list[str]):
    """Every acceptable answer to a prompt, and what metrics ask about the prompt.

    Attributes:
      style: name of the style of options or of speakers, "" without either.
      group: what examples that are scored together have in common, None if nothing is.
    """

    def __init__(self, texts: Iterable[str], style: str = "", group: int | None = None):
        super().__init__(texts)
        self.style = style
        self.group = group


def references_or_text(
    decoded: str, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> References | str:
    """For a target every acceptable answer; for a prediction its text."""
    if not is_target:
        return decoded.strip()
    assert example is not None
    return References(
        map(_text, example["references"]),
        style=_text(example.get("style", "")),
        group=int(example.get("group", 0)) or None,
    )


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
