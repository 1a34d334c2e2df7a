"""From released prompts to an overlay: whose they are, in our slots, as TOML files."""

import dataclasses
import json
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence

from import_templates_release import Lists, Prompt

from flan_tasks import card_checks, overlay
from flan_tasks.errors import CardError
from flan_tasks.spec import OPTIONS_SLOT, SETTINGS_OF_COLLECTION, Dataset, Exemplar, Variant

_MARK = "# Made by tools/import_templates.py from google-research/FLAN."
_INVERSION = "_input_inversion"
_SLOT = re.compile(r"(\{\w*\})")

# Families of templates that are not called after a dataset, or a family of datasets, of ours.
_SERVES = {
    "anli": ("anli_r1", "anli_r2", "anli_r3"),
    "arc": ("arc_challenge", "arc_easy"),
    "mnli": ("mnli_matched", "mnli_mismatched"),
    "natinst_v2": ("niv2",),
    "para_crawl": ("para_crawl_enes",),
    "program_synthesis_dmcc_python": ("dmcc_python",),
    "program_synthesis_dr_repair_error_comments": ("dr_repair_error_comments",),
    "program_synthesis_dr_repair_line_numbers": ("dr_repair_line_numbers",),
    "program_synthesis_dr_repair_no_errors": ("dr_repair_no_errors",),
    "program_synthesis_dr_repair_plain_code": ("dr_repair_plain_code",),
    "stream_aqua": ("cot_aqua",),
    "stream_qed": ("cot_qed",),
}
# Of P3's tasks, those with options beside the prompt. The release fills all others' {question} with
# the prompt as P3 has it, choices and all; our rows hold the choices apart, so that its templates
# would ask without them.
_P3, _P3_TYPE = "p3", "multiple_choice_separated_options"
# Fields that are called otherwise here, by family of datasets.
_FIELDS = {
    "niv2": {"Definition": "definition"},
    "p3": {"question": "prompt"},
    "dmcc_python": {"question": "description"},
    "dr_repair_error_comments": {"question": "broken_code"},
    "dr_repair_line_numbers": {"question": "broken_code"},
    "dr_repair_no_errors": {"question": "broken_code"},
    "dr_repair_plain_code": {"question": "broken_code"},
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A released prompt as a template of ours, and the settings that it serves."""

    id: str
    settings: tuple[str, ...]
    preamble: str
    input: str
    target: str
    exemplar: Exemplar | None

    def toml(self) -> str:
        """The template's lines in the overlay's file."""
        values = {key: value for key, value in vars(self).items() if value}
        if self.exemplar:
            layout = vars(self.exemplar).items()
            pairs = ", ".join(f"{key} = {_quoted(value)}" for key, value in layout)
            values["exemplar"] = f"{{ {pairs} }}"
        values["settings"] = _array(self.settings)
        texts = ("id", "preamble", "input", "target")
        return "".join(
            f"{key} = {_quoted(value) if key in texts else value}\n"
            for key, value in values.items()
        )


@dataclasses.dataclass(frozen=True)
class Family:
    """A file of the overlay.

    Attributes:
      name: what the release calls its templates.
      serves: the datasets, or families of datasets, that they are for.
      template, inverted: the lists.
      left_out: places of prompts that list options in a setting that has none to list.
    """

    name: str
    serves: tuple[str, ...]
    template: tuple[Entry, ...]
    inverted: tuple[Entry, ...]
    left_out: tuple[str, ...]

    def toml(self) -> str:
        """The file."""
        blocks = [f"{_MARK}\nserves = {_array(self.serves)}\n"]
        for key in ("template", "inverted"):
            blocks += [f"[[{key}]]\n{entry.toml()}" for entry in getattr(self, key)]
        return "\n".join(blocks)


def build(
    released: Mapping[str, Lists], datasets: Mapping[str, Dataset]
) -> tuple[list[Family], list[str]]:
    """The overlay's files, and the released families of templates that no dataset here is for.

    Raises:
      CardError: a prompt has a slot that its dataset has no field for, or a setting has no prompt.
    """
    inversions = {name.replace(_INVERSION, ""): name for name in released if _INVERSION in name}
    files, skipped = [], []
    for name in released:
        serves = _serves(name.replace(_INVERSION, ""), datasets)
        if not serves:
            skipped.append(name)
        elif _INVERSION not in name:
            files.append(_family(name, inversions.get(name), serves, released, datasets))
    return files, skipped


def write(files: Iterable[Family], folder: pathlib.Path, datasets: Mapping[str, Dataset]) -> None:
    """Writes the overlay, in place of one that this program made before, in whole or not at all.

    Raises:
      CardError: the folder holds something else, or the overlay does not fit the datasets.
    """
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        made.mkdir()
        for family in files:
            (made / f"{family.name}.toml").write_text(family.toml(), "utf-8")
        overlay.apply(datasets, made)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check_replaceable(folder: pathlib.Path) -> None:
    if not folder.exists():
        return
    for path in folder.iterdir() if folder.is_dir() else [folder]:
        if path.suffix != ".toml" or not path.read_text("utf-8").startswith(_MARK):
            raise CardError(
                "this is no file of an overlay made by tools/import_templates.py",
                where=str(path),
                remedy="Name a new folder in --out.",
            )


def _serves(name: str, datasets: Mapping[str, Dataset]) -> tuple[str, ...]:
    """The datasets, or families of datasets, that a released family of templates is for."""
    if name == f"t0_{_P3_TYPE}":
        tasks = (dataset for dataset in datasets.values() if dataset.family == _P3)
        return tuple(task.name for task in tasks if task.constants["task_type"] == _P3_TYPE)
    known = {each for dataset in datasets.values() for each in (dataset.name, dataset.family)}
    return tuple(each for each in _SERVES.get(name, (name,)) if each in known)


def _family(
    name: str,
    inversion: str | None,
    serves: tuple[str, ...],
    released: Mapping[str, Lists],
    datasets: Mapping[str, Dataset],
) -> Family:
    dataset = next(each for each in datasets.values() if serves[0] in (each.name, each.family))
    left_out: list[str] = []
    forward = _entries(name, released[name], dataset, left_out)
    inverted = _entries(inversion, released[inversion], dataset, left_out) if inversion else ()
    return Family(name, serves, forward, inverted, tuple(left_out))


def _entries(family: str, lists: Lists, dataset: Dataset, left_out: list[str]) -> tuple[Entry, ...]:
    """The templates of a list; those that the pipeline has no options for go to `left_out`."""
    settings_of: dict[Prompt, list[str]] = {}
    for setting in SETTINGS_OF_COLLECTION[dataset.collection]:
        if not lists.get(setting):
            raise CardError(
                f"family {family!r} has no templates for {setting}",
                where=next((each[0].place for each in lists.values() if each), "the release"),
                remedy="Check out the released version of google-research/FLAN.",
            )
        for prompt in lists[setting]:
            lists_options = "{options_}" in prompt.input + prompt.target
            if lists_options and not Variant.of_setting(setting).options:
                left_out.append(prompt.place)
            else:
                settings_of.setdefault(prompt, []).append(setting)
    return tuple(_entry(prompt, each, dataset) for prompt, each in settings_of.items())


def _entry(prompt: Prompt, settings: Sequence[str], dataset: Dataset) -> Entry:
    shots = settings[0].split("_")[0]
    label = shots if len(settings) > 1 else settings[0]
    return Entry(
        id=f"flan2022:{label}:{prompt.number}",
        settings=tuple(settings),
        preamble=_text(prompt.preamble, prompt, dataset),
        input=_text(prompt.input, prompt, dataset),
        target=_text(prompt.target, prompt, dataset),
        exemplar=prompt.exemplar,
    )


def _text(text: str, prompt: Prompt, dataset: Dataset) -> str:
    """A released text with our slots; what else stands in braces is literal."""
    ours = {"options_": OPTIONS_SLOT, "dialog_": dataset.turns} | _FIELDS.get(dataset.family, {})
    known = card_checks.known_slots(dataset)
    pieces = _SLOT.split(text)
    for index, piece in enumerate(pieces):
        if index % 2 == 0:
            pieces[index] = piece.replace("{", "{{").replace("}", "}}")
            continue
        name = piece[1:-1]
        if ours.get(name, name) not in known:
            raise CardError(
                f"template {prompt.number} of its list: dataset {dataset.name!r} has no field for "
                f"the slot {piece}",
                where=prompt.place,
                remedy=f"Its slots are: {', '.join(sorted(known))}.",
            )
        pieces[index] = f"{{{ours.get(name, name)}}}"
    return "".join(pieces)


def _array(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    """A text as TOML has it: JSON's escapes, and the one character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
