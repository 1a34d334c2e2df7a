"""How a dialog is written: what stands before a turn, and what stands between turns.

A style is drawn per example. Which label is whose is counted from the end: the last turn shown is
said by the one, and the turn that comes next, the answer as a rule, by the other. That other one is
the one who informs or serves, so that "Assistant" is true of every dialog; "Q:" and "A:" would not
be, because not every turn is a question. An answer carries no label: it is what is said.
"""

import dataclasses
import itertools
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class SpeakerStyle:
    """One way of writing a dialog of two people.

    Attributes:
      one: what stands before each turn of the one who speaks last.
      other: what stands before each turn of the one who speaks next.
      between: what stands between two turns.
    """

    one: str
    other: str
    between: str = "\n"

    @property
    def name(self) -> str:
        """What is recorded with the example: both marks and how turns are set apart."""
        between = "line" if self.between == "\n" else self.between.strip() or "space"
        return f"{self.one.strip()}|{self.other.strip()}|{between}"

    def text(self, turns: Sequence[str]) -> str:
        r"""The turns as they stand in the prompt, each said by another than the one before.

        >>> named("A:|B:|line").text(["Hello!", "Hi.", "Is it raining?"])
        'A: Hello!\nB: Hi.\nA: Is it raining?'
        >>> named("A:|B:|line").text(["Hi.", "Is it raining?"])
        'B: Hi.\nA: Is it raining?'
        """
        from_end = range(len(turns) - 1, -1, -1)
        marked = (
            (self.other if distance % 2 else self.one) + turn
            for distance, turn in zip(from_end, turns, strict=True)
        )
        return self.between.join(marked)


# In both orders where either may begin: many dialogs begin with a greeting of the one who answers.
_LABELS = (
    ("A", "B"),
    ("B", "A"),
    ("1", "2"),
    ("2", "1"),
    ("Person 1", "Person 2"),
    ("Person 2", "Person 1"),
    ("Speaker 1", "Speaker 2"),
    ("Speaker 2", "Speaker 1"),
    ("User", "Assistant"),
)
_MARKS = ("{label}: ", "[{label}] ", "({label}) ", "<{label}> ")
# Without labels the lines themselves tell who speaks: they take turns.
_BULLETS = ("", "- ", "* ", "• ")
# Marks that set turns apart by themselves need no lines.
_IN_ONE_LINE = (
    SpeakerStyle("[A] ", "[B] ", " "),
    SpeakerStyle("(1) ", "(2) ", " "),
    SpeakerStyle("", "", " / "),
    SpeakerStyle("", "", " | "),
)

STYLES = (
    *(
        SpeakerStyle(mark.format(label=one), mark.format(label=other))
        for (one, other), mark in itertools.product(_LABELS, _MARKS)
    ),
    *(SpeakerStyle(bullet, bullet) for bullet in _BULLETS),
    *_IN_ONE_LINE,
)
_STYLE_OF_NAME = {style.name: style for style in STYLES}


def named(name: str) -> SpeakerStyle:
    """The style of a name, as it is recorded with an example.

    Raises:
      ValueError: there is no such style.
    """
    if name not in _STYLE_OF_NAME:
        raise ValueError(f"there is no style of speakers named {name!r}")
    return _STYLE_OF_NAME[name]
