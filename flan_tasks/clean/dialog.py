"""Dialogs: the turns so far, and what is said next.

`dialog` is a list of turns, never empty: two speakers take turns, and the last turn shown is the
other one's than the answer. What somebody says in several utterances on end is one turn.
"""

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, NamedTuple

from flan_tasks import draws
from flan_tasks.clean import Drop, Fields


class _Turn(NamedTuple):
    speaker: Hashable
    text: str


def wiki_dialog(row: Mapping[str, Any]) -> Fields:
    """A reader's questions about a Wikipedia passage, and its sentences as the replies.

    One of the replies is the answer, drawn by the passage's id (see `_split`): {utterances: [hello,
    x, y, z, w], author_num: [0, 1, 0, 1, 0]} becomes dialog [hello, x] and answer y, or dialog
    [hello, x, y, z] and answer w.
    """
    texts, authors = row["utterances"], row["author_num"]
    if len(texts) != len(authors):
        raise Drop("turns without an author")
    if len(set(authors)) > 2:
        raise Drop("more than two speakers")
    turns = _turns(zip(authors, texts, strict=True))
    replying = turns[-1].speaker if turns else None
    return {"title": row["title"], **_split(turns, replying, row["pid"])}


_QRECC_COLUMNS = {
    "Context": "context",
    "Question": "question",
    "Rewrite": "question_rewrite",
    "Answer": "answer",
}


def qrecc(row: Mapping[str, Any]) -> Fields:
    """Questions and answers in turn, the last question, and the same question in full.

    Reads the columns of TFDS and of the published JSON ("Context" …). A question that was left
    unanswered has an empty answer in the context, and becomes one turn with the next one. `rewrite`
    is the last question as it would be asked without the dialog, empty where that is the same.
    """
    if "Context" in row:
        row = {ours: row[theirs] for theirs, ours in _QRECC_COLUMNS.items()}
    if len(row["context"]) % 2:
        raise Drop("a turn is missing")
    said = [*row["context"], row["question"]]
    turns = _turns((place % 2, text) for place, text in enumerate(said))
    if not turns or turns[-1].speaker == 1:
        raise Drop("no question")
    rewrite = " ".join(row["question_rewrite"].split())
    return {
        "dialog": [turn.text for turn in turns],
        "rewrite": "" if rewrite == turns[-1].text else rewrite,
        "answer": " ".join(row["answer"].split()),
    }


def task_master(row: Mapping[str, Any]) -> Fields:
    """A customer's errand with an assistant, from any of the four releases.

    One of the assistant's turns is the answer, drawn by the conversation's id (see `_split`).
    """
    said = [(each["speaker"].lower(), each["text"]) for each in row["utterances"]]
    if {speaker for speaker, _ in said} - {"user", "assistant"}:
        raise Drop("unknown speaker")
    return {"topic": _topic(row), **_split(_turns(said), "assistant", row["conversation_id"])}


# Topics that the words of an instruction's name do not tell.
_TOPICS = {
    "auto repair appt": "auto repair appointments",
    "uber lyft": "rides with Uber and Lyft",
    "epl": "English Premier League football",
    "mlb": "Major League Baseball",
    "mls": "Major League Soccer",
    "nba": "NBA basketball",
    "nfl": "NFL football",
}


def _topic(row: Mapping[str, Any]) -> str:
    """What a conversation is about: releases 3 and 4 say it, 1 and 2 name instructions after it.

    "Movie Tickets" becomes "movie tickets", "restaurant-table-2" becomes "restaurant table".
    """
    if row.get("vertical"):
        return row["vertical"].lower()
    words = re.split(r"[\W_]+", row.get("instruction_id", "").lower())
    topic = " ".join(word for word in words if word.isalpha())
    return _TOPICS.get(topic, topic)


def _turns(said: Iterable[tuple[Hashable, str]]) -> list[_Turn]:
    """What was said, by turns: each on one line, none empty, no two of the same speaker on end."""
    turns: list[_Turn] = []
    for speaker, utterance in said:
        text = " ".join(utterance.split())
        if text and turns and turns[-1].speaker == speaker:
            turns[-1] = _Turn(speaker, f"{turns[-1].text} {text}")
        elif text:
            turns.append(_Turn(speaker, text))
    return turns


def _split(turns: list[_Turn], speaker: Hashable, name: str) -> Fields:
    """The dialog up to one of the speaker's turns, and that turn.

    A conversation is one example, so one of its turns has to stand for all. Which one is drawn from
    its name: the same one in every reading, and over many conversations early turns come up as
    often as late ones.
    """
    if len(turns) < 2:
        raise Drop("fewer than two turns")
    replies = [place for place, turn in enumerate(turns) if place and turn.speaker == speaker]
    if not replies:
        raise Drop("nothing is replied")
    end = replies[draws.name_key(name) % len(replies)]
    return {"dialog": [turn.text for turn in turns[:end]], "answer": turns[end].text}
