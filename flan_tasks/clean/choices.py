"""Finds the answers that a prompt gives to choose from, and takes them out of its text.

For prompts that come as text, with the choices written into it. What is taken out are choices that
stand by themselves, together with the words that announce them, so that what is left still reads as
a whole: a list on lines of its own, a line "Possible answers: …", a sentence that says no more.
Everything else is left alone: choices that are part of a sentence, and prompts that go on to speak
of the choices as something to be seen.
"""

import re
import string
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class TakenOut(NamedTuple):
    """A prompt without its choices, the choices, and the answer, spelled as it is among them."""

    prompt: str
    choices: tuple[str, ...]
    answer: str


class _Block(NamedTuple):
    """Where choices stand in a prompt, announcement included, and what they are."""

    start: int
    end: int
    choices: tuple[str, ...]


# Looked for first: few prompts have any of this.
_ANNOUNCING = re.compile(r"options|choices|answers|candidates|given a ", re.IGNORECASE)
_NAMES = r"(?:answer |possible |available )*(?:options|choices|answers|candidates)"
_LEAD_IN = re.compile(
    # On a line of its own, or at the end of a sentence: "… from the following options:".
    rf"(?:(?:^|(?<=\n))(?P<line>[ \t]*)(?:the )?{_NAMES}(?: are)?"
    rf"|,? (?:among|from|out of|given|with|and) (?:the|these) (?:following )?{_NAMES}(?: below)?)"
    r"[ \t]*:\s*",
    re.IGNORECASE,
)
_ITEM = re.compile(
    r"[ \t]*(?:[-*•]|\(?(?P<letter>[A-Z])[.):])[ \t]+(?P<text>\S[^\n]*?)[ \t]*(?:\n+|\Z)"
)
# A few short phrases: "this, that or the other".
_PHRASES = r"(?P<phrases>[^,.?!:\n]{1,50}(?:, [^,.?!:\n]{1,50})*,? or [^,.?!:\n]{1,50})"
_ENUMERATION = re.compile(
    rf"(?:^|(?<=[.?!]\s))The (?:options|choices) are[ :-]+{_PHRASES}\."
    rf"|(?:^|(?<=[.,] ))[Gg]iven a (?:list|choice) of \w+:? {_PHRASES.replace('phrases', 'these')},"
    r" (?=what |which |the )"
)
# A last question that counts up what may be said to the one before it: "Would you? Yes or no?"
_LAST_QUESTION = re.compile(rf"(?<=\?)\s+{_PHRASES}\?\Z")
# What points to choices that are not there any more: where it can go, and where it cannot.
_POINTER = re.compile(
    rf" (?:from|among|out of|with) the (?:list|{_NAMES}) (?:below|above|given)"
    rf"| (?:from|among|out of|with) the following {_NAMES}",
    re.IGNORECASE,
)
_OPTION_TO_PICK = re.compile(r"\b((?:choose|pick|select) the [\w ]{0,30}?)option\b", re.IGNORECASE)
_DANGLING = re.compile(
    r"\b(?:options?|choices|alternatives|candidates)\b|\bof the following\b|\bfollowing answers\b"
    r"|\b(?:list|answers) (?:below|above)\b|\bwhich one\b|\([AB]\)",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"\b(?:what|which|who|whom|whose|where|when|why|how)\b", re.IGNORECASE)


def take_out(prompt: str, answer: str, known: Sequence[str] = ()) -> TakenOut | None:
    """The prompt without the choices in it; None if there are none, or none that can be taken out.

    Args:
      prompt: the prompt's text.
      answer: the right one of the choices; case does not count.
      known: all choices, if they are known; else a block is recognised by its form, and by the
        answer being in it.
    """
    for block in _blocks(prompt, bool(known)):
        choices = _confirmed(block, known)
        right = [choice for choice in choices if choice.casefold() == answer.casefold()]
        if len(right) == 1 and len(choices) > 1:
            rest = _mended(prompt[: block.start], prompt[block.end :])
            if rest and not _DANGLING.search(rest):
                return TakenOut(rest, choices, right[0])
    return None


def _confirmed(block: _Block, known: Sequence[str]) -> tuple[str, ...]:
    """The block's choices; none if they are not the known ones."""
    if not known:
        return block.choices
    # Joined, for a choice may hold a comma that looked like the end of it.
    found = ", ".join(block.choices).casefold()
    return tuple(known) if found == ", ".join(known).casefold() else ()


def _blocks(prompt: str, choices_are_known: bool) -> Iterator[_Block]:
    """What looks like choices; what nothing announces may be anything, so choices must be known."""
    if _ANNOUNCING.search(prompt):
        yield from _announced(prompt)
    if choices_are_known:
        yield from _unannounced(prompt)


def _announced(prompt: str) -> Iterator[_Block]:
    for match in _LEAD_IN.finditer(prompt):
        end, items = _items(prompt, match.end())
        if items:
            yield _Block(match.start(), end, items)
        elif "\n" not in match.group() and match["line"] is not None:
            line = prompt[match.end() :].partition("\n")[0]
            yield _Block(match.start(), match.end() + len(line), tuple(line.split(", ")))
    for match in _ENUMERATION.finditer(prompt):
        yield _Block(match.start(), match.end(), _phrases(match["phrases"] or match["these"]))


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(re.split(r",? or |, ", text))


def _unannounced(prompt: str) -> Iterator[_Block]:
    """Lists of items, and a last question, with no words that say what they are."""
    for match in _LAST_QUESTION.finditer(prompt):
        yield _Block(match.start(), match.end(), _phrases(match["phrases"]))
    start = 0
    while start < len(prompt):
        end, items = _items(prompt, start)
        if items:
            yield _Block(start, end, items)
        start = prompt.find("\n", max(start, end)) + 1 or len(prompt)


def _items(prompt: str, start: int) -> tuple[int, tuple[str, ...]]:
    """The items of the list at `start`, and where it ends: with bullets, or lettered in order."""
    items: list[re.Match[str]] = []
    while match := _ITEM.match(prompt, items[-1].end() if items else start):
        letter = (
            string.ascii_uppercase[len(items) % 26] if (items or [match])[0]["letter"] else None
        )
        if match["letter"] != letter:
            break
        items.append(match)
    return items[-1].end("text") if items else start, tuple(item["text"] for item in items)


def _mended(before: str, after: str) -> str:
    """What is left of a prompt, joined, with full stops and capitals where they belong now."""
    gaps = before[len(before.rstrip()) :], after[: len(after) - len(after.lstrip())]
    newlines = min(max(gap.count("\n") for gap in gaps), 2)
    before, after = before.rstrip(), after.lstrip()
    if before and before[-1] not in ".,?!:;\"'”’)]_":
        before += "?" if _QUESTION.search(re.split(r"[.?!]\s", before)[-1]) else "."
    if after and (not before or before[-1] in ".?!"):
        after = after[0].upper() + after[1:]
    joined = before + ("\n" * newlines or " ") + after
    return _OPTION_TO_PICK.sub(r"\1answer", _POINTER.sub("", joined)).strip()
