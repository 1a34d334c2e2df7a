"""A dataset in one variant: how it is asked, and which prompt comes of which draws.

Built forward: slots, template, exemplars. What is drawn is decided by the stream of prompts; here a
draw becomes text.
"""

import dataclasses
from collections.abc import Sequence

from flan_tasks import contamination, draws, fewshot, options, render, speakers, store
from flan_tasks.contamination import DropList
from flan_tasks.render import Style
from flan_tasks.sources import Settings
from flan_tasks.spec import OPTIONS_SLOT, Dataset, Template, Variant


@dataclasses.dataclass(frozen=True, slots=True)
class Draft:
    """A prompt before its length is known; a zero-shot prompt is one without exemplars.

    Attributes:
      prompt: the prompt in parts.
      target: what the model shall answer.
      references: every acceptable answer, for the metrics.
      group: the same number for examples that a metric scores together, 0 if none does.
      template: id of the template, e.g. "bool_q/3" or "bool_q/inverted/0".
      style: name of the style of options or of speakers, "" without either.
      exemplars: rows of the exemplars, in the order shown.
    """

    prompt: fewshot.FewShotPrompt
    target: str
    references: tuple[str, ...]
    group: int
    template: str
    style: str
    exemplars: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class OpenSplit:
    """The prepared rows that a split's examples are made of.

    Attributes:
      split: the split.
      queries: its rows.
      shots: the rows that exemplars come from; those of the split itself where it is "train".
    """

    split: str
    queries: store.PreparedSplit
    shots: store.PreparedSplit


class VariantPipeline:
    """A task's prompts. A task is a dataset in a variant.

    Attributes:
      dataset, variant: what the task is.
      name: the task's name, {dataset}_{variant}.
      key: 64 bits of the name; part of the key of every draw.
      templates: the templates that the variant draws from.
      styles: the styles that the options' or the speakers' is drawn from; empty: none is.
    """

    def __init__(self, dataset: Dataset, variant: Variant):
        self.dataset = dataset
        self.variant = variant
        self.name = f"{dataset.name}_{variant.name}"
        self.key = draws.name_key(self.name)
        self.templates = dataset.templates_of(variant)
        self._without_options = dataset.templates_of(variant, options=False)
        self.styles = _styles(dataset, variant)

    def open(
        self,
        split: str,
        settings: Settings,
        *,
        prepare_missing: bool = True,
        drop_list: DropList = contamination.NOTHING,
    ) -> OpenSplit:
        """The prepared rows that the examples of a split are made of.

        Raises:
          FlanError: see `store.open_split` and `DropList.apply`.
        """

        def rows_of(name: str) -> store.PreparedSplit:
            rows = prepared(self.dataset, name, settings, prepare_missing)
            return drop_list.apply(self.dataset.name, name, rows)

        queries = rows_of(split)
        if not self.variant.few_shot or split == "train" or "train" not in self.dataset.splits:
            return OpenSplit(split, queries, queries)
        return OpenSplit(split, queries, rows_of("train"))

    def draft(
        self,
        rows_of: OpenSplit,
        row: int,
        *,
        start: int,
        style: Style | None,
        num_shots: int,
        shot_rows: Sequence[int],
    ) -> Draft | None:
        """The prompt of a row; None if no template can ask about it.

        Args:
          rows_of: the row's split.
          row: number of the row.
          start: the drawn template; the next one that leaves no slot empty is taken.
          style: the drawn style, None where there is none to draw from.
          num_shots: the drawn number of exemplars.
          shot_rows: the rows drawn as exemplars, with some to spare.
        """
        query = self._answered(rows_of.queries, row, style)
        lists_options = OPTIONS_SLOT in query.slots
        templates = self.templates if lists_options else self._without_options
        template = render.choose_template(templates, query.slots, start)
        if template is None:
            return None
        if lists_options and not render.lists_options(template):
            query = self._answered(rows_of.queries, row, None)  # no label of an option unseen
        asked = render.fill(template, query, (id(rows_of.queries), row))
        if self.variant.few_shot:
            shown = style if query.style else None  # as the query shows it, so do the exemplars
            shots = self._shots(rows_of.shots, num_shots, shot_rows, shown, asked)
            prompt = fewshot.lay_out(asked, list(shots.values()))
        else:
            shots = {}
            prompt = fewshot.FewShotPrompt(asked.preamble, (), asked.input, asked)
        # The row's references answer the row's question.
        stands_alone = self._asks_otherwise(template) or not self.dataset.answer.references
        return Draft(
            prompt=prompt,
            target=asked.target,
            references=(asked.target,) if stands_alone else query.references,
            group=self._group(query),
            template=self._template_name(template),
            style=query.style,
            exemplars=tuple(shots),
        )

    def _shots(
        self,
        prepared: store.PreparedSplit,
        num_shots: int,
        rows: Sequence[int],
        style: Style | None,
        asked: render.Filled,
    ) -> dict[int, render.Filled]:
        """Row -> exemplar; without those that lack a slot or repeat the query.

        Another row may ask for the same (its duplicate does, and so does every row of a class where
        the prompt is inverted); only the inverted one is then an exemplar of its own.
        """
        asks_otherwise = self._asks_otherwise(asked.template)
        shots: dict[int, render.Filled] = {}
        for row in rows:
            if len(shots) == num_shots:
                break
            shot = self._answered(prepared, row, style)
            if render.is_complete(asked.template, shot.slots):
                filled = render.fill(asked.template, shot, (id(prepared), row))
                is_another = asks_otherwise and filled.target != asked.target
                if is_another or filled.input != asked.input:
                    shots[row] = filled
        return shots

    def _answered(
        self, prepared: store.PreparedSplit, row: int, style: Style | None
    ) -> render.AnsweredRow:
        fields = prepared.row(row)
        if self.dataset.constants:
            fields = {**self.dataset.constants, **fields}
        return render.answered(fields, self.dataset, style)

    def _group(self, row: render.AnsweredRow) -> int:
        if not self.dataset.group_by:
            return 0
        texts = [row.slots[field] for field in self.dataset.group_by]
        return draws.name_key("\n".join(texts)) >> 1  # examples hold signed integers

    def _asks_otherwise(self, template: Template) -> bool:
        """Whether the prompt asks for something else than the row's answer."""
        return self.variant.inverted or not render.asks_for(self.dataset.answer, template)

    def _template_name(self, template: Template) -> str:
        kind = "inverted/" if self.variant.inverted else ""
        return f"{self.dataset.family}/{kind}{template.id}"


def _styles(dataset: Dataset, variant: Variant) -> Sequence[Style]:
    if dataset.turns:
        return speakers.STYLES
    if not variant.options or not dataset.answer.has_options or variant.inverted:
        return ()
    are_numbers = all(option.isdecimal() for option in dataset.answer.options or ("",))
    return options.STYLES_OF_NUMBERS if are_numbers else options.STYLES


# Opened splits; the variants of a dataset share its rows.
_opened: dict[tuple[str, str, str], store.PreparedSplit] = {}


def prepared(
    dataset: Dataset, split: str, settings: Settings, prepare_missing: bool
) -> store.PreparedSplit:
    """The rows of a split, opened once.

    Raises:
      FlanError: see `store.open_split`.
    """
    key = (dataset.name, split, settings.key)
    if key not in _opened:
        _opened[key] = store.open_split(dataset, split, settings, prepare_missing=prepare_missing)
    return _opened[key]
