"""From a decoded output to what the metrics compare."""

from collections.abc import Mapping
from typing import Any


def references_or_text(
    decoded: str, example: Mapping[str, Any] | None = None, is_target: bool = False
) -> list[str] | str:
    """For a target every acceptable answer (list of str); for a prediction its text."""
    if is_target:
        assert example is not None
        return [_text(reference) for reference in example["references"]]
    return decoded.strip()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
