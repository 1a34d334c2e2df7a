"""Common sense: what follows, what fits, what a pronoun or a missing word stands for."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import untokenize

# WikiHow's articles, as HellaSwag quotes them, mark their parts: "[header] … [title] … [step] …".
_PART_MARK = re.compile(r"\s*\[(?:header|title|step|substeps)\]\s*")
_ASKED = {"cause": "Why did this happen?", "effect": "What happened as a result?"}


def story_cloze(row: Mapping[str, Any]) -> Fields:
    """The first four sentences of a story and two endings.

    Reads TFDS's rows, {context, endings, label}, and the published CSV's, {InputSentence1 … 4,
    RandomFifthSentenceQuiz1 and 2, AnswerRightEnding}. Both count the endings from 1.
    """
    if "context" in row:
        context, endings, right = row["context"], row["endings"], row["label"]
    else:
        context = " ".join(row[f"InputSentence{number}"].strip() for number in range(1, 5))
        endings = [row[f"RandomFifthSentenceQuiz{number}"] for number in (1, 2)]
        right = row.get("AnswerRightEnding")
    return {"context": context, "endings": list(endings), "label": _index(right, first=1)}


def copa(row: Mapping[str, Any]) -> Fields:
    """An event and two sentences, one of them its cause or its effect.

    Reads TFDS's, the Hub's and SuperGLUE's own rows: {premise, choice1, choice2, question, label}.
    `question` is "cause" or "effect", `asked` the same as a question in so many words.
    """
    return {
        "premise": row["premise"],
        "question": row["question"],
        "asked": _ASKED[row["question"]],
        "choices": [row["choice1"], row["choice2"]],
        "label": _index(row.get("label"), first=0),
    }


def winogrande(row: Mapping[str, Any]) -> Fields:
    """A sentence with a blank, "_", and two phrases of which one fits.

    Reads TFDS's rows, whose label counts from 0, and the published JSON lines and the Hub's, whose
    answer is "1", "2" or, where it is kept secret, "".
    """
    published = "answer" in row
    right = row["answer"] if published else row.get("label")
    return {
        "context": row["sentence"],
        "candidates": [row["option1"], row["option2"]],
        "label": _index(right, first=int(published)),
    }


def piqa(row: Mapping[str, Any]) -> Fields:
    """A goal and two ways to reach it, of which one works.

    Reads TFDS's and the Hub's rows: {goal, sol1, sol2, label}. The published files keep the labels
    apart.
    """
    return {
        "goal": untokenize(row["goal"]),
        "solutions": [untokenize(row["sol1"]), untokenize(row["sol2"])],
        "label": _index(row.get("label"), first=0),
    }


def hellaswag(row: Mapping[str, Any]) -> Fields:
    """The beginning of a video's description or of a WikiHow article, and four continuations.

    Reads TFDS's rows, whose text is called context, and the published JSON lines and the Hub's,
    where it is ctx and the label may be digits. The marks of WikiHow's parts are taken out.
    """
    context = row["context"] if "context" in row else row["ctx"]
    return {
        "activity": row["activity_label"],
        "context": _without_part_marks(context),
        "endings": [_without_part_marks(ending) for ending in row["endings"]],
        "label": _index(row.get("label"), first=0),
    }


def lambada(row: Mapping[str, Any]) -> Fields:
    """A passage from a novel without its last word, and that word.

    Reads TFDS's rows, {passage}, and the Hub's, {text}: lower case, split into tokens, which are
    joined here.
    """
    words = row["passage" if "passage" in row else "text"].split()
    if len(words) < 2:
        raise Drop("no passage")
    return {"sentence": untokenize(" ".join(words[:-1])), "answer": words[-1]}


def _index(right: Any, *, first: int) -> int:
    """The index of the right option, given its number in a count that starts at `first`."""
    if right in (None, "", -1, "-1"):
        raise Drop("no label")
    return int(right) - first


def _without_part_marks(text: str) -> str:
    """The parts of an article one after the other; a heading without a full stop gets one."""
    parts = [untokenize(part) for part in _PART_MARK.split(text)]
    return " ".join(_ended([part for part in parts if part]))


def _ended(parts: Sequence[str]) -> list[str]:
    closed = [part if part[-1] in ".!?:;,\"')" else f"{part}." for part in parts[:-1]]
    return [*closed, *parts[-1:]]
