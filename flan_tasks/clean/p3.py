"""P3: prompts that are rendered already, their answers, and the choices where there are any."""

import html
import re
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields, choices

_END_OF_TEXT = "<|endoftext|>"
# A last line that only announces the answer: it would stand between the task and what follows it.
_ANNOUNCEMENT = re.compile(r"A:|Answer:|The (?:\w+ )?answer(?: is:?|:)", re.IGNORECASE)


def prompt(row: Mapping[str, Any]) -> Fields:
    """A prompt, its answer, and the options that it is to be chosen from; often there are none.

    Reads P3's own rows (inputs_pretokenized, targets_pretokenized, and answer_choices where the
    template has them) and rows of prompt and completion. Choices written into the prompt are taken
    out of it where that leaves a whole prompt (see `choices.take_out`), and become the options;
    choices that the prompt does not show at all become the options too. A prompt that has them in
    its sentences, or that is answered by a letter or a number of theirs, stays as it is published,
    and its row has no options.
    """
    text = _tidied(row["inputs_pretokenized"] if "inputs_pretokenized" in row else row["prompt"])
    answer = _tidied(
        row["targets_pretokenized"] if "targets_pretokenized" in row else row["completion"]
    )
    if not text:
        raise Drop("no prompt")
    known = _known_choices(row, answer)
    taken = choices.take_out(text, answer, known)
    if taken:
        text, options, answer = taken
    else:
        options = () if _shows(text, known) else known
        answer = next((each for each in options if _same(each, answer)), answer)
    return {"prompt": _without_announcement(text), "answer": answer, "options": list(options)}


def _without_announcement(text: str) -> str:
    before, _, last = text.rpartition("\n")
    return before.rstrip(" \n=") if before and _ANNOUNCEMENT.fullmatch(last.strip()) else text


def _known_choices(row: Mapping[str, Any], answer: str) -> tuple[str, ...]:
    """The choices that come with the row; none if they are but letters or numbers of choices."""
    published = row.get("answer_choices") or ()
    published = [published] if isinstance(published, str) else published
    known = tuple(dict.fromkeys(filter(None, map(_tidied, published))))
    letters = tuple(chr(ord("A") + index) for index in range(len(known)))
    numbers = tuple(str(index + 1) for index in range(len(known)))
    answerable = any(_same(choice, answer) for choice in known)
    return known if answerable and len(known) > 1 and known not in (letters, numbers) else ()


def _shows(text: str, known: tuple[str, ...]) -> bool:
    """Whether the prompt names every one of the choices, somewhere in its words."""
    folded = text.casefold()
    return all(re.search(rf"(?<!\w){re.escape(each.casefold())}(?!\w)", folded) for each in known)


def _same(first: str, second: str) -> bool:
    return first.casefold() == second.casefold()


def _tidied(text: str) -> str:
    """Text with characters for HTML's entities, and no more than one empty line at a time."""
    text = html.unescape(text.strip().removesuffix(_END_OF_TEXT))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+(?=\n|\Z)", "", text)).strip()
