"""How a list of answer options is written: a lead-in, a style of items, an ending.

A style is drawn per example. Where the items carry labels, the expected answer is the label or the
option's text, as the style says.
"""

import dataclasses
import itertools
from collections.abc import Sequence

LEAD_INS = (
    "OPTIONS:",
    "Options:",
    "Choices:",
    "Possible answers:",
    "Pick one of these:",
    "Choose from:",
    "Select one:",
    "The answer is one of:",
    "Available answers:",
    "Answer choices:",
    "Candidates:",
    "You may answer:",
    "Which of these is it?",
    "What fits best?",
    "Options to choose from:",
    "Allowed answers:",
    "Here is what you can answer:",
    "One of the following is right:",
)
ENDINGS = ("", "\nAnswer with one of them.", "\nGive just one.")

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii")


@dataclasses.dataclass(frozen=True)
class ItemStyle:
    """How one option is written.

    Attributes:
      label: format of the label, with {mark}; empty: no label.
      marks: what marks count with: upper, lower, number, roman.
      separator: between label and text.
      between: between items.
      answer_is_label: whether the expected answer is the label instead of the option's text.
    """

    label: str
    marks: str
    separator: str
    between: str
    answer_is_label: bool

    @property
    def name(self) -> str:
        """Label, how items are set apart, and what the answer is: "(upper)|line|text"."""
        label = self.label.format(mark=self.marks) if "{" in self.label else self.label
        between = "line" if self.between == "\n" else self.between.strip()
        return f"{label or 'plain'}|{between}|{'label' if self.answer_is_label else 'text'}"


def _item_styles() -> tuple[ItemStyle, ...]:
    bullets = [
        ItemStyle(bullet, "", " " if bullet else "", between, False)
        for bullet in ("-", "*", "+", "•", "")
        for between in ("\n",)
    ]
    bullets += [ItemStyle("", "", "", between, False) for between in ("; ", " / ", ", or ")]
    labelled = [
        ItemStyle(label, marks, " ", between, answer_is_label)
        for label, marks, between, answer_is_label in itertools.product(
            ("({mark})", "{mark}.", "{mark})", "[{mark}]"),
            ("upper", "lower", "number"),
            ("\n",),
            (False, True),
        )
    ]
    labelled.append(ItemStyle("({mark})", "roman", " ", "\n", False))
    labelled.append(ItemStyle("({mark})", "upper", " ", " ", True))
    labelled.append(ItemStyle("[{mark}]", "number", " ", " ", False))
    return tuple(bullets + labelled)


ITEM_STYLES = _item_styles()


@dataclasses.dataclass(frozen=True)
class OptionStyle:
    """One way of listing options."""

    lead_in: str
    item: ItemStyle
    ending: str

    @property
    def name(self) -> str:
        """What is recorded with the example: lead-in, item style, ending."""
        return f"{self.lead_in}|{self.item.name}|{ENDINGS.index(self.ending)}"

    def listing(self, options: Sequence[str]) -> str:
        r"""The options as they stand in the prompt.

        >>> STYLES[0].listing(["no", "yes"])
        'OPTIONS:\n- no\n- yes'
        """
        items = (self._label(i) + self.item.separator + text for i, text in enumerate(options))
        lead_in = self.lead_in + "\n" if self.lead_in else ""
        return lead_in + self.item.between.join(items) + self.ending

    def answer(self, options: Sequence[str], index: int) -> str:
        """What the model is expected to answer for the option at `index`."""
        return self._label(index) if self.item.answer_is_label else options[index]

    def answers(self, options: Sequence[str]) -> list[str]:
        """What the model is expected to answer for each of the options."""
        return [self.answer(options, index) for index in range(len(options))]

    def _label(self, index: int) -> str:
        if "{" not in self.item.label:
            return self.item.label
        return self.item.label.format(mark=_mark(self.item.marks, index))


def _mark(marks: str, index: int) -> str:
    if marks == "number" or index >= len(_UPPER) or (marks == "roman" and index >= len(_ROMAN)):
        return str(index + 1)
    if marks == "roman":
        return _ROMAN[index]
    return _UPPER[index] if marks == "upper" else _UPPER[index].lower()


STYLES = tuple(
    OptionStyle(lead_in, item, ending)
    for lead_in, item, ending in itertools.product(LEAD_INS, ITEM_STYLES, ENDINGS)
)
# The same, for options that are numbers themselves: "[1] 0 [2] 1" would read badly.
STYLES_OF_NUMBERS = tuple(
    dataclasses.replace(style, item=dataclasses.replace(style.item, marks="upper"))
    if style.item.marks == "number"
    else style
    for style in STYLES
)
_STYLE_OF_NAME = {style.name: style for style in (*STYLES_OF_NUMBERS, *STYLES)}


def named(name: str) -> OptionStyle:
    """The style of a name, as it is recorded with an example.

    Raises:
      ValueError: there is no such style.
    """
    if name not in _STYLE_OF_NAME:
        raise ValueError(f"there is no style of options named {name!r}")
    return _STYLE_OF_NAME[name]
