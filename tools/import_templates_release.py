"""The prompts of the released Flan 2022, as its files have them: flan/v2/templates.py and another.

    PATTERNS = {"family": [("input", "target"), ...]}                   zero-shot
    FEWSHOT_PATTERNS = {"family": [FewShotPattern(inputs=..., ...)]}    few-shot

Names ending in _NO_OPTIONS are copies of these two, out of which loops take the options; and those
families that flan/v2/flan_templates_branched.py has are asked without options in its words.
"""

import ast
import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from import_templates_syntax import LiteralFile

from flan_tasks.errors import CardError
from flan_tasks.spec import Exemplar

_TEMPLATES = "flan/v2/templates.py"
_BRANCHED = "flan/v2/flan_templates_branched.py"
_FEW_SHOT = "FewShotPattern"
# How the lists without options come about; it has to be so for what is read here to be right.
_DERIVATIONS = (
    r"PATTERNS_NO_OPTIONS = copy\.deepcopy\(PATTERNS\)",
    r"PATTERNS_NO_OPTIONS\.update\(\w+\.PATTERNS\)",
    r"FEWSHOT_PATTERNS_NO_OPTIONS = copy\.deepcopy\(FEWSHOT_PATTERNS\)",
)
# FewShotPattern's arguments; the first two have no defaults of their own.
_DEFAULTS = {
    "inputs": "",
    "targets": "",
    "inputs_prefix": "",
    "targets_prefix": "",
    "x_y_delimiter": "\n\n",
    "example_separator": "\n\n\n",
    "final_suffix": "",
    "input_pattern": "{{inputs}}{final_suffix}",
}


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A released template: as one of ours, but with the release's slots.

    Attributes:
      number: its place in the list of its family.
      preamble, input, target: its parts.
      exemplar: how exemplars are laid out; None: zero-shot.
      place: file and line, which templates that are the same may differ in.
    """

    number: int
    preamble: str
    input: str
    target: str
    exemplar: Exemplar | None
    place: str = dataclasses.field(compare=False)


# Setting -> its prompts, in the release's order.
Lists = Mapping[str, Sequence[Prompt]]


def read(checkout: pathlib.Path) -> dict[str, Lists]:
    """Family -> its prompts in each setting that the family has.

    Args:
      checkout: the folder that google-research/FLAN was cloned into.

    Raises:
      CardError: files are missing, lack some of the prompts, or say something other than literals;
        names file and line.
    """
    file = LiteralFile(checkout / _TEMPLATES)
    branched = LiteralFile(checkout / _BRANCHED)
    for derivation in _DERIVATIONS:
        if not any(re.fullmatch(derivation, call) for call in file.calls):
            raise CardError(
                f"no statement reads {derivation.replace(chr(92), '')}",
                where=str(file.path),
                remedy="Check out the released version of google-research/FLAN.",
            )
    zero_shot = _prompts(file, "PATTERNS", _zero_shot)
    few_shot = _prompts(file, "FEWSHOT_PATTERNS", _few_shot)
    no_options = file.taken_out("PATTERNS_NO_OPTIONS")
    zero_shot_without = _prompts(file, "PATTERNS", _zero_shot, no_options)
    settings = {
        "zs_opt": zero_shot,
        "zs_noopt": zero_shot_without | _prompts(branched, "PATTERNS", _zero_shot, no_options),
        "fs_opt": few_shot,
        "fs_noopt": _prompts(
            file, "FEWSHOT_PATTERNS", _few_shot, file.taken_out("FEWSHOT_PATTERNS_NO_OPTIONS")
        ),
    }
    return {
        family: {setting: lists[family] for setting, lists in settings.items() if family in lists}
        for family in zero_shot | few_shot
    }


class _Parse(Protocol):
    """Reads one template; `taken_out` are the texts that its input does without."""

    def __call__(
        self, file: LiteralFile, entry: ast.expr, number: int, taken_out: Sequence[str]
    ) -> Prompt: ...


def _prompts(
    file: LiteralFile, name: str, parse: _Parse, taken_out: Sequence[str] = ()
) -> dict[str, list[Prompt]]:
    return {
        family: [parse(file, entry, number, taken_out) for number, entry in enumerate(entries)]
        for family, entries in file.lists(name).items()
    }


def _without(text: str, taken_out: Sequence[str]) -> str:
    for each in taken_out:
        text = text.replace(each, "")
    return text


def _zero_shot(file: LiteralFile, entry: ast.expr, number: int, taken_out: Sequence[str]) -> Prompt:
    parts = [file.text(each) for each in file.items(entry)]
    if len(parts) != 2:
        raise file.fault(f"{len(parts)} texts", entry, "A template is an input and a target.")
    asked, target = _without(parts[0], taken_out), parts[1]
    return Prompt(number, "", asked, target, None, file.place(entry))


def _few_shot(file: LiteralFile, entry: ast.expr, number: int, taken_out: Sequence[str]) -> Prompt:
    """A few-shot template, so that the prompt comes out as the release writes it.

    The release ends a prompt in the delimiter and the target's prefix, and takes the spaces off
    its end, but not the line ends. What ends the query is part of our input, therefore, and what is
    taken off it is our target's prefix, which only exemplars show in full. A query's target, but
    not an exemplar's, loses its white space likewise.
    """
    texts = _few_shot_texts(file, entry)
    end = texts["x_y_delimiter"] + texts["targets_prefix"]
    asked = _without(texts["inputs"], taken_out) + end
    target = texts["targets"].strip()
    before, after = texts["targets"].split(target)
    exemplar = Exemplar(
        input_prefix=texts["inputs_prefix"],
        target_prefix=asked[len(asked.rstrip(" ")) :] + before,
        separator=after + texts["example_separator"],
    )
    preamble = _preamble(texts["input_pattern"], texts["final_suffix"])
    if preamble is None:
        what = "something follows the query: the input pattern does not end in {{inputs}}"
        raise file.fault(what, entry, "There is no such prompt here; leave it out.")
    return Prompt(number, preamble, asked.rstrip(" "), target, exemplar, file.place(entry))


def _few_shot_texts(file: LiteralFile, entry: ast.expr) -> dict[str, str]:
    """The arguments of a FewShotPattern, those left out with their defaults."""
    given = dict(file.arguments(entry, _FEW_SHOT))
    if "in_template_mix" in given:  # about another kind of few-shot prompt, of mixed templates
        file.flag(given.pop("in_template_mix"))
    texts = _DEFAULTS | {key: file.text(value) for key, value in given.items()}
    if unknown := texts.keys() - _DEFAULTS.keys():
        what = f"unknown argument {min(unknown)!r}"
        raise file.fault(what, entry, f"Known are: {', '.join(_DEFAULTS)}.")
    if not texts["targets"].strip():
        raise file.fault("there is no targets=", entry, "A template asks for something.")
    return texts


def _preamble(pattern: str, suffix: str) -> str | None:
    """What stands above exemplars and query; None where something follows them."""
    whole = pattern.replace("{final_suffix}", suffix).replace("{{", "{").replace("}}", "}")
    return whole.removesuffix("{inputs}") if whole.endswith("{inputs}") else None
