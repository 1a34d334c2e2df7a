"""What a dataset, a template and a variant are. Plain data, checked on construction.

Nothing here needs TensorFlow: cards are read and checked in milliseconds.
"""

import dataclasses
import functools
import re
import string
from collections.abc import Mapping

# The prompt settings of each collection (arXiv 2301.13688, section 2; released mixture weights):
# chain-of-thought, dialog and Super-Natural Instructions have no "without options" setting.
SETTINGS_OF_COLLECTION: Mapping[str, tuple[str, ...]] = {
    "flan2021": ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"),
    "t0": ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"),
    "niv2": ("zs_opt", "fs_opt"),
    "cot": ("zs_opt", "fs_opt"),
    "dialog": ("zs_opt", "fs_opt"),
    "program_synthesis": ("zs_opt", "fs_opt"),
    # Beyond the collection; named after what xP3 (arXiv 2211.01786) adds to P3.
    "multilingual": ("zs_opt", "fs_opt"),
}

# What evaluation datasets are in (`flan_tasks.evaluation`); no mixture can hold it.
EVALUATION = "evaluation"

# Slots that the pipeline fills itself; every other slot names a field of the row.
ANSWER_SLOT = "answer"
OPTIONS_SLOT = "options"
_OPTIONAL_PART = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a dataset's raw rows come from; the places are tried in this order.

    Attributes:
      files: raw split -> published file name, looked for in the data directory; with a * for
        shards, "train.jsonl-*". A file may be gzipped, its folder packed in one archive. Formats
        by suffix: .json .jsonl .tsv .csv .parquet .tfrecord.
      columns: names of a header-less TSV's or CSV's columns, in order.
      rows: path of the list of rows inside a JSON file, e.g. "data.paragraphs.qas": every level's
        other keys are merged into the row.
      tfds: TFDS name with version, e.g. "bool_q:1.0.0".
      hub: Hugging Face Hub dataset, "owner/name" or "owner/name:config".
      hub_splits: raw split -> what the Hub calls it, where that differs.
      hub_files: raw split -> the publisher's own file in the Hub's repository, where these are to
        be read in place of the Hub's Parquet conversion.
      where: raw column -> value: only these rows belong to the dataset (for a source that holds a
        whole family in one piece).
      manual: what a person has to do before `files` or `tfds` can serve, where the publisher lets
        no program download the data: the steps, with the address.
    """

    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: str = ""
    tfds: str = ""
    hub: str = ""
    hub_splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    hub_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    where: Mapping[str, str] = dataclasses.field(default_factory=dict)
    manual: str = ""

    def hub_split(self, raw_split: str) -> str:
        """What the Hub calls a raw split."""
        return self.hub_splits.get(raw_split, raw_split)


@dataclasses.dataclass(frozen=True)
class Answer:
    """Which fields hold the answer.

    Either `text` names the field with the answer's text, or `label` names the field with the index
    of the right option and the options are the literal `options` or the list field `options_from`.
    With `text`, `options_from` may be a list that is empty on some rows, those without options; on
    the others the text is one of the list.

    Attributes:
      text: field with the answer's text.
      label: field with the index of the right option.
      options: the options' texts, when they are the same for every row.
      options_from: list field with the row's own options, empty for a row without any.
      references: list field with every acceptable answer, for the metrics; empty: the one answer.
    """

    text: str = ""
    label: str = ""
    options: tuple[str, ...] = ()
    options_from: str = ""
    references: str = ""

    @property
    def has_options(self) -> bool:
        """Whether a row has options to choose from."""
        return bool(self.options or self.options_from)


@dataclasses.dataclass(frozen=True)
class Exemplar:
    """How the examples of a few-shot prompt are laid out.

    A few-shot prompt is `preamble`, then for each exemplar input_prefix + input + target_prefix +
    target + separator, then input_prefix + input + target_prefix of the query.
    """

    input_prefix: str = ""
    target_prefix: str = "\n"
    separator: str = "\n\n"


@dataclasses.dataclass(frozen=True)
class Template:
    """One way of asking: literal text with {slots}.

    Slots name fields of the row; `{answer}` is the answer's text and `{options}` the styled list of
    options. What stands between `[[` and `]]` falls away in the settings without options.
    A zero-shot prompt is preamble + input. In a few-shot prompt the preamble stands once, at the
    top. `{{` and `}}` are literal braces. A template that names its settings, say zs_noopt, serves
    no other; it needs no optional parts, and `[[` and `]]` in it are literal.
    """

    id: str
    input: str
    target: str
    preamble: str = ""
    exemplar: Exemplar = Exemplar()
    settings: tuple[str, ...] = ()

    def serves(self, setting: str) -> bool:
        """Whether the template is for that setting."""
        return not self.settings or setting in self.settings

    def without_options(self) -> "Template":
        """The template of the settings without options."""
        return self._map_optional(lambda match: "")

    def with_options(self) -> "Template":
        """The template of the settings with options: the optional part stays, its marks go."""
        return self._map_optional(lambda match: match.group(1))

    def _map_optional(self, replace) -> "Template":
        if self.settings:
            return self
        return dataclasses.replace(
            self,
            preamble=_OPTIONAL_PART.sub(replace, self.preamble),
            input=_OPTIONAL_PART.sub(replace, self.input),
        )


def slots(text: str) -> tuple[str, ...]:
    """The names of the slots of a template's text, in order of appearance.

    Raises:
      ValueError: a brace that is not closed, or a slot with a format or an index.
    """
    names = []
    for _, name, format_spec, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or format_spec or conversion:
            raise ValueError(f"slot {{{name}}} is not a plain name")
        names.append(name)
    return tuple(names)


@dataclasses.dataclass(frozen=True, order=True)
class Variant:
    """A way of prompting a dataset: shots and options, forward or inverted."""

    few_shot: bool
    options: bool
    inverted: bool = False

    @property
    def setting(self) -> str:
        """One of zs_opt, zs_noopt, fs_opt, fs_noopt."""
        return f"{'fs' if self.few_shot else 'zs'}_{'opt' if self.options else 'noopt'}"

    @property
    def name(self) -> str:
        """What a task's name ends in: the setting, after "inverted_" where it is."""
        return f"inverted_{self.setting}" if self.inverted else self.setting

    @classmethod
    def of_setting(cls, setting: str, *, inverted: bool = False) -> "Variant":
        """The variant of a setting: zs_opt, zs_noopt, fs_opt or fs_noopt."""
        return cls(setting.startswith("fs_"), setting.endswith("_opt"), inverted)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A source dataset: all that its card says.

    Attributes:
      name: what tasks are called after, e.g. "bool_q", "niv2_task1146_country_capital".
      family: the card's name; differs from `name` where one card serves a table of datasets.
      collection: one of SETTINGS_OF_COLLECTION.
      splits: split -> ReadInstruction over the raw splits, e.g. "train[:-200]".
      num_examples: split -> rows after slicing, before any row is dropped; makes rates known
        before anything is prepared.
      clean: "module.function" of `flan_tasks.clean`, or "" when `fields` says it all.
      fields: field -> raw column.
      constants: field -> value that is the same for all rows (a table row's columns).
      metrics: names of `flan_tasks.metrics`.
      group_by: fields that rows have in common which a metric scores together.
      turns: list field with the turns of a dialog, "" if there is none: two speakers take turns,
        and the last turn is the other one's than whose turn is next.
    """

    name: str
    family: str
    collection: str
    kind: str
    homepage: str
    license: str
    citation: str
    source: Source
    splits: Mapping[str, str]
    num_examples: Mapping[str, int]
    answer: Answer
    metrics: tuple[str, ...]
    templates: tuple[Template, ...]
    inverted: tuple[Template, ...] = ()
    group_by: tuple[str, ...] = ()
    turns: str = ""
    clean: str = ""
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    languages: tuple[str, ...] = ("English",)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that exist for this dataset, forward ones first."""
        settings = SETTINGS_OF_COLLECTION[self.collection]
        forward = [Variant.of_setting(setting) for setting in settings]
        if not self.inverted:
            return tuple(forward)
        # An inverted prompt asks for the question; the list of options would only repeat it.
        backward = [Variant.of_setting(setting, inverted=True) for setting in settings]
        return tuple(forward + backward)

    def templates_of(self, variant: Variant, *, options: bool = True) -> tuple[Template, ...]:
        """The templates of a variant, with the optional parts resolved.

        Args:
          variant: the variant.
          options: False for those of its rows that have no options to list.
        """
        templates = self.inverted if variant.inverted else self.templates
        options = options and variant.options and self.answer.has_options
        return _resolved(templates, variant.setting, options)


@functools.cache
def _resolved(templates: tuple[Template, ...], setting: str, options: bool) -> tuple[Template, ...]:
    """A setting's templates without optional parts; one tuple for all datasets of a family."""
    return tuple(
        template.with_options() if options else template.without_options()
        for template in templates
        if template.serves(setting)
    )
