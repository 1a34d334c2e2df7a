"""Dialogs: turns so far, and the next one."""

from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields

_SPEAKERS = "AB"


def wiki_dialog(row: Mapping[str, Any]) -> Fields:
    r"""A dialog on a Wikipedia passage: all turns but the last, one to a line, and the last one.

    The speakers are called A and B in the order in which they first speak: {utterances: [x, y, z],
    author_num: [1, 0, 1]} becomes dialog "A: x\nB: y" and answer "z".
    """
    turns = [" ".join(turn.split()) for turn in row["utterances"]]
    authors = list(dict.fromkeys(row["author_num"]))
    if len(turns) < 2:
        raise Drop("fewer than two turns")
    if len(turns) != len(row["author_num"]):
        raise Drop("turns without an author")
    if len(authors) > len(_SPEAKERS):
        raise Drop("more than two speakers")
    names = [_SPEAKERS[authors.index(author)] for author in row["author_num"]]
    lines = [f"{name}: {turn}" for name, turn in zip(names[:-1], turns[:-1], strict=True)]
    return {"title": row["title"], "dialog": "\n".join(lines), "answer": turns[-1]}
