"""What a card must not say: checks of a Dataset that its types alone cannot make."""

import re
from collections.abc import Callable, Iterator

from flan_tasks import clean, splits
from flan_tasks.errors import CardError
from flan_tasks.spec import (
    ANSWER_SLOT,
    OPTIONS_SLOT,
    SETTINGS_OF_COLLECTION,
    Dataset,
    Template,
    Variant,
    slots,
)

_FEWEST_TEMPLATES = 10
_NAME = re.compile(r"[A-Za-z0-9_]+")
_TFDS_NAME = re.compile(r"\w+(/[\w.\-]+)?:\d+\.\d+\.\d+")
_HUB_NAME = re.compile(r"[\w.\-]+/[\w.\-]+(:[\w.\-]+)?")


def check(dataset: Dataset, where: str) -> None:
    """Checks a card by one of its datasets.

    Args:
      dataset: what the card says.
      where: the card's file, for the errors.

    Raises:
      CardError: the first fault found; names the file and the key.
    """
    for look in (_collection, _source, _splits, _cleaning, _answer, _unusable, _template_list):
        for key, what, remedy in look(dataset):
            raise CardError(what, where=f"{where} {key}", remedy=remedy)


def check_data(dataset: Dataset, where: str) -> None:
    """Checks what a card says of its rows alone: where they come from, their fields, the answer.

    Raises:
      CardError: the first fault found; names the file and the key.
    """
    for look in (_source, _splits, _cleaning, _answer):
        for key, what, remedy in look(dataset):
            raise CardError(what, where=f"{where} {key}", remedy=remedy)


def check_templates(dataset: Dataset, where: str) -> None:
    """Checks templates that others wrote: that they can be filled, however they are worded.

    Raises:
      CardError: the first fault found; names the template.
    """
    for key, what, remedy in _unusable(dataset):
        raise CardError(what, where=f"{where} {key}", remedy=remedy)


def check_row(dataset: Dataset, where: str) -> None:
    """Checks what the datasets of a table can differ in: name, numbers of examples, steps."""
    if not _NAME.fullmatch(dataset.name):
        raise CardError(
            f"{dataset.name!r} cannot be a task's name",
            where=where,
            remedy="Use letters, digits and underscores.",
        )
    # Of other splits the number may be left out where it is not known for sure: it is only checked.
    if "train" in dataset.splits and "train" not in dataset.num_examples:
        raise CardError(
            "split 'train' has no number of examples",
            where=f"{where} [num_examples]",
            remedy="Add train = …: rates are reckoned from it before anything is read.",
        )
    manual = dataset.source.manual
    if manual and "https://" not in manual:
        raise CardError(
            f"{manual!r} does not say where the data are",
            where=f"{where} [source] manual",
            remedy="Give the https:// address.",
        )
    for split in dataset.num_examples.keys() - dataset.splits.keys():
        raise CardError(
            f"{split!r} is no split",
            where=f"{where} [num_examples]",
            remedy=f"Splits are: {', '.join(dataset.splits)}.",
        )


_Faults = Iterator[tuple[str, str, str]]


def _collection(dataset: Dataset) -> _Faults:
    if dataset.collection not in SETTINGS_OF_COLLECTION:
        known = ", ".join(SETTINGS_OF_COLLECTION)
        yield "collection", f"unknown collection {dataset.collection!r}", f"Known are: {known}."


def _source(dataset: Dataset) -> _Faults:
    source = dataset.source
    if not (source.files or source.tfds or source.hub):
        yield "[source]", "no place to read from", "Name at least one of files, tfds, hub."
    if source.tfds and not _TFDS_NAME.fullmatch(source.tfds):
        remedy = "Write it as name:1.0.0 or name/config:1.0.0."
        yield "[source] tfds", f"{source.tfds!r} is no TFDS name with a version", remedy
    if source.hub and not _HUB_NAME.fullmatch(source.hub):
        remedy = "Write it as owner/name or owner/name:config."
        yield "[source] hub", f"{source.hub!r} is no name on the Hub", remedy


def _splits(dataset: Dataset) -> _Faults:
    for split, instruction in dataset.splits.items():
        fault = _complaint(splits.parse, instruction)
        if fault:
            yield f"[splits] {split}", fault, "Mend the split."


def _cleaning(dataset: Dataset) -> _Faults:
    if dataset.clean:
        fault = _complaint(clean.resolve, dataset.clean)
        if fault:
            yield "clean", fault, 'Write "module.function", a function of flan_tasks.clean.'
    else:
        for field, column in dataset.fields.items():
            if not column:
                yield f"[fields] {field}", "no column is named", f'Write {field} = "its column".'
    for field in dataset.fields:
        if not field.isidentifier():
            yield f"[fields] {field}", f"{field!r} cannot be a slot", "Use letters, digits and _."
        if field in dataset.constants:
            remedy = "Rename the field or the column."
            yield f"[fields] {field}", "the table has a column of this name", remedy


def _answer(dataset: Dataset) -> _Faults:
    answer = dataset.answer
    if bool(answer.text) == bool(answer.label):
        yield "[answer]", "it takes one of text and label", "Name the field that holds the answer."
    if answer.label and bool(answer.options) == bool(answer.options_from):
        yield "[answer]", "a label takes one of options and options_from", "Add the options."
    if answer.options and not answer.label:
        remedy = "Name the field with the option's index."
        yield "[answer]", "there are options, but no label", remedy
    for key in ("text", "label", "options_from", "references"):
        field = getattr(answer, key)
        if field and field not in dataset.fields:
            yield f"[answer] {key}", f"there is no field {field!r}", _known_fields(dataset)
    if dataset.turns and dataset.turns not in dataset.fields:
        yield "turns", f"there is no field {dataset.turns!r}", _known_fields(dataset)
    for field in dataset.group_by:
        if field not in dataset.fields:
            yield "[metrics] group_by", f"there is no field {field!r}", _known_fields(dataset)
    if ANSWER_SLOT in dataset.fields and answer.text != ANSWER_SLOT:
        remedy = "Rename the field, or make it the answer's text."
        yield f"[fields] {ANSWER_SLOT}", "the slot of the answer hides this field", remedy
    if OPTIONS_SLOT in dataset.fields and answer.options_from != OPTIONS_SLOT:
        remedy = "Rename the field, or name it in options_from."
        yield f"[fields] {OPTIONS_SLOT}", "the slot of the options hides this field", remedy


def _template_list(dataset: Dataset) -> _Faults:
    if len(dataset.templates) < _FEWEST_TEMPLATES:
        what = f"{len(dataset.templates)} templates; it takes at least {_FEWEST_TEMPLATES}"
        yield "[[template]]", what, "Write more, no two alike in wording and order."
    for key, templates in (("template", dataset.templates), ("inverted", dataset.inverted)):
        seen: dict[str, str] = {}
        for template in templates:
            place = f"[[{key}]] {template.id}"
            for part, what, remedy in _template(template, dataset, forward=key == "template"):
                yield f"{place} {part}", what, remedy
            twin = seen.setdefault(_wording(template), template.id)
            if twin != template.id:
                yield place, f"it reads like template {twin}", "Word it differently."


def _unusable(dataset: Dataset) -> _Faults:
    """What keeps templates, whoever wrote them, from being filled and told apart."""
    for key, templates in (("template", dataset.templates), ("inverted", dataset.inverted)):
        ids: set[str] = set()
        for template in templates:
            place = f"[[{key}]] {template.id}"
            for part, what, remedy in _unfillable(template, dataset):
                yield f"{place} {part}", what, remedy
            if template.id in ids:
                yield place, f"the id {template.id!r} is taken", "Give it another id."
            ids.add(template.id)
    for variant in dataset.variants:
        if not dataset.templates_of(variant):
            remedy = f"Add one, or {variant.setting!r} to the settings of one."
            yield f"[[{_key(variant)}]]", f"no template serves {variant.setting}", remedy


def _key(variant: Variant) -> str:
    return "inverted" if variant.inverted else "template"


def known_slots(dataset: Dataset) -> set[str]:
    """The slots that templates of the dataset may have."""
    answer = dataset.answer
    lists = {answer.options_from, answer.references} - {""}
    known = (dataset.fields.keys() | dataset.constants.keys() | {ANSWER_SLOT}) - lists
    return known | {OPTIONS_SLOT} if answer.has_options else known


def _unfillable(template: Template, dataset: Dataset) -> _Faults:
    """What keeps one template from being filled: (part, what, remedy)."""
    known = known_slots(dataset)
    plain = template.with_options()
    for part in ("preamble", "input", "target"):
        fault = _complaint(slots, getattr(plain, part))
        if fault:
            yield part, fault, "Write {{ and }} for literal braces."
            return
        for name in slots(getattr(plain, part)):
            if name not in known:
                yield part, f"{{{name}}} is no slot of this card", f"Slots are: {_listed(known)}."
    if not slots(plain.target):
        yield "target", "it holds no slot", "Put in what is asked for, {answer} most often."
    settings = SETTINGS_OF_COLLECTION[dataset.collection]
    for setting in template.settings:
        if setting not in settings:
            remedy = f"Settings are: {', '.join(settings)}."
            yield "settings", f"{dataset.collection} has no setting {setting!r}", remedy


def _template(template: Template, dataset: Dataset, *, forward: bool) -> _Faults:
    """Faults in how one of the card's own templates asks: (part, what, remedy)."""
    answer = dataset.answer
    gives_away = {ANSWER_SLOT, answer.text, answer.label} if forward else set()
    plain, bare = template.with_options(), template.without_options()
    for part in ("preamble", "input", "target"):
        text = getattr(plain, part)
        for name in slots(text):
            if part != "target" and name in gives_away:
                yield part, f"{{{name}}} gives the answer away", "Ask without it."
        if "[[" in text or "]]" in text:
            yield part, "[[ and ]] do not pair up, or stand in a target", "Mend the optional part."
        if OPTIONS_SLOT in slots(getattr(bare, part)):
            remedy = "Put it between [[ and ]]: it falls away in settings without options."
            yield part, "{options} stands outside the optional part", remedy


def _wording(template: Template) -> str:
    """What makes a template itself: its words and slots, without case and punctuation."""
    text = "|".join((template.preamble, template.input, template.target))
    return " ".join(re.findall(r"\w+|\|", text.lower()))


def _complaint(function: Callable[[str], object], argument: str) -> str:
    """What a function objects to in its argument; empty if nothing."""
    try:
        function(argument)
    except ValueError as error:
        return str(error)
    return ""


def _known_fields(dataset: Dataset) -> str:
    return f"Fields are: {_listed(dataset.fields)}."


def _listed(names) -> str:
    return ", ".join(sorted(names))
