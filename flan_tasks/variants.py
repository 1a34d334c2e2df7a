"""The pipeline of one dataset in one variant: rows in, tokenized examples with provenance out.

Built forward: slots, template, exemplars, text, tokens. A batch of rows is read, rendered and
tokenized at once. Every draw is a function of the seed, the task's name and the example's index.
"""

import collections
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging

from flan_tasks import draws, fewshot, options, render, sources, store
from flan_tasks.errors import SourceError
from flan_tasks.spec import Dataset, Template, Variant
from flan_tasks.vocabulary import VOCABULARY

# What a draw is for; part of its key, so that no two choices of an example hang together.
_TEMPLATE, _OPTIONS, _EXEMPLARS = range(3)
# A stream whose first so many examples are all too long gives none: say so instead of looping.
_HOPELESS = 4096
_TOO_LONG = "too long, even without exemplars"
_INCOMPLETE = "a field that every template asks for is empty"
# Opened splits; the variants of a dataset share its rows.
_opened: dict[tuple[str, str, str], store.PreparedSplit] = {}


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Longest inputs and targets, in tokens with the end-of-sequence token; None: no limit."""

    inputs: int | None = None
    targets: int | None = None

    def __str__(self) -> str:
        return f"inputs {self.inputs} / targets {self.targets} tokens"


@dataclasses.dataclass(frozen=True)
class Example:
    """A tokenized prompt and where it comes from.

    Attributes:
      inputs, targets: token ids with the end-of-sequence token.
      references: every acceptable answer, for the metrics.
      template: id of the template, e.g. "bool_q/3" or "bool_q/inverted/0".
      option_style: name of the style of options, "" without options.
      exemplars: rows of the exemplars, in the order shown.
    """

    inputs: list[int]
    targets: list[int]
    inputs_pretokenized: str
    targets_pretokenized: str
    references: tuple[str, ...]
    row: int
    index: int
    template: str
    option_style: str
    exemplars: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A prompt before its length is known; a zero-shot prompt is one without exemplars."""

    prompt: fewshot.FewShotPrompt
    target: str
    references: tuple[str, ...]
    template: Template
    option_style: str
    exemplars: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Shots:
    """The exemplars of a prompt: their rows, and the template filled with each."""

    rows: tuple[int, ...]
    texts: tuple[render.Filled, ...]


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
    """Renders and tokenizes the examples of a task, which is a dataset in a variant."""

    def __init__(self, dataset: Dataset, variant: Variant):
        self.dataset = dataset
        self.variant = variant
        self.name = f"{dataset.name}_{variant.name}"
        self.templates = dataset.templates_of(variant)
        self._key = draws.name_key(self.name)
        self._lists_options = (
            variant.options and dataset.answer.has_options and not variant.inverted
        )

    def open(self, split: str, *, prepare_missing: bool = True) -> OpenSplit:
        """The prepared rows that the examples of a split are made of.

        Raises:
          FlanError: see `store.open_split`.
        """
        queries = _prepared(self.dataset, split, prepare_missing)
        if not self.variant.few_shot or "train" not in self.dataset.splits:
            return OpenSplit(split, queries, queries)
        return OpenSplit(split, queries, _prepared(self.dataset, "train", prepare_missing))

    def examples(
        self,
        rows_of: OpenSplit,
        rows: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        lengths: Lengths,
    ) -> list[Example | str]:
        """The examples of some rows; for one that has to be left out, the reason.

        Args:
          rows_of: the rows' split.
          rows: int64 [n], row numbers.
          indices: int64 [n], the examples' indices: epoch * number of rows + row.
          seed: the run's seed.
          lengths: the model's lengths.
        """
        key = draws.hash64(seed, self._key, indices)
        styles = self._draw_styles(key)
        queries = self._answered(rows_of.queries, rows, styles)
        starts = draws.below(len(self.templates), key, _TEMPLATE)
        templates = [
            render.choose_template(self.templates, query.slots, int(start))
            for query, start in zip(queries, starts, strict=True)
        ]
        filled = [
            None if template is None else render.fill(template, query.slots)
            for template, query in zip(templates, queries, strict=True)
        ]
        shots = self._exemplars(rows_of, rows, key, styles, templates, filled)
        drafts = [
            self._draft(template, asked, query, style, shot)
            for template, asked, query, style, shot in zip(
                templates, filled, queries, styles, shots, strict=True
            )
            if template is not None and asked is not None
        ]
        complete = np.array([template is not None for template in templates], bool)
        made = self._tokenized(drafts, rows[complete], indices[complete], lengths)
        return [_INCOMPLETE if template is None else next(made) for template in templates]

    def _tokenized(
        self, drafts: Sequence[_Draft], rows: np.ndarray, indices: np.ndarray, lengths: Lengths
    ) -> Iterator[Example | str]:
        kept = self._fit(drafts, lengths)
        texts = [draft.prompt.text(n) for draft, n in zip(drafts, kept, strict=True)]
        inputs = VOCABULARY.encode_batch(texts)
        targets = VOCABULARY.encode_batch([draft.target for draft in drafts])
        eos = VOCABULARY.eos_id
        for i, draft in enumerate(drafts):
            example = Example(
                inputs=[*inputs[i], eos],
                targets=[*targets[i], eos],
                inputs_pretokenized=texts[i],
                targets_pretokenized=draft.target,
                references=draft.references,
                row=int(rows[i]),
                index=int(indices[i]),
                template=self._template_name(draft.template),
                option_style=draft.option_style,
                exemplars=draft.exemplars[: kept[i]],
            )
            yield example if _fits(example, lengths) else _TOO_LONG

    def _draft(
        self,
        template: Template,
        filled: render.Filled,
        query: render.AnsweredRow,
        style: options.OptionStyle | None,
        shots: _Shots,
    ) -> _Draft:
        if self.variant.few_shot:
            prompt = fewshot.lay_out(template, filled, shots.texts)
        else:
            prompt = fewshot.FewShotPrompt(filled.preamble, (), filled.input)
        # The row's references answer the row's question; an inverted prompt asks something else.
        stands_alone = self.variant.inverted or not self.dataset.answer.references
        return _Draft(
            prompt=prompt,
            target=filled.target,
            references=(filled.target,) if stands_alone else query.references,
            template=template,
            option_style=style.name if style else "",
            exemplars=shots.rows,
        )

    def _template_name(self, template: Template) -> str:
        kind = "inverted/" if self.variant.inverted else ""
        return f"{self.dataset.family}/{kind}{template.id}"

    def _draw_styles(self, key: np.ndarray) -> list[options.OptionStyle | None]:
        if not self._lists_options:
            return [None] * len(key)
        return [options.STYLES[i] for i in draws.below(len(options.STYLES), key, _OPTIONS)]

    def _answered(
        self,
        prepared: store.PreparedSplit,
        rows: np.ndarray,
        styles: Sequence[options.OptionStyle | None],
    ) -> list[render.AnsweredRow]:
        columns = prepared.read(np.asarray(rows, np.int64))
        answer, constants = self.dataset.answer, self.dataset.constants
        return [
            render.answered({**constants, **dict(zip(columns, values, strict=True))}, answer, style)
            for style, *values in zip(styles, *columns.values(), strict=True)
        ]

    def _exemplars(
        self,
        rows_of: OpenSplit,
        rows: np.ndarray,
        key: np.ndarray,
        styles: Sequence[options.OptionStyle | None],
        templates: Sequence[Template | None],
        filled: Sequence[render.Filled | None],
    ) -> list[_Shots]:
        if not self.variant.few_shot:
            return [_Shots((), ())] * len(rows)
        chosen = fewshot.draw_exemplars(
            rows,
            draws.hash64(key, _EXEMPLARS),
            rows_of.shots.num_rows,
            same_split=rows_of.shots is rows_of.queries,
        )
        counts = [len(shot_rows) for shot_rows in chosen]
        shot_styles = [style for style, n in zip(styles, counts, strict=True) for _ in range(n)]
        answered = iter(self._answered(rows_of.shots, np.concatenate(chosen), shot_styles))
        return [
            _usable_exemplars(template, asked, [(int(row), next(answered)) for row in shot_rows])
            for shot_rows, template, asked in zip(chosen, templates, filled, strict=True)
        ]

    def _fit(self, drafts: Sequence[_Draft], lengths: Lengths) -> list[int]:
        if not self.variant.few_shot or lengths.inputs is None:
            return [len(draft.prompt.exemplars) for draft in drafts]
        budget = lengths.inputs - 1  # room for the end-of-sequence token
        return fewshot.fit([draft.prompt for draft in drafts], budget, _count_tokens)


def _prepared(dataset: Dataset, split: str, prepare_missing: bool) -> store.PreparedSplit:
    settings = sources.settings()
    key = (dataset.name, split, repr(settings))
    if key not in _opened:
        _opened[key] = store.open_split(dataset, split, settings, prepare_missing=prepare_missing)
    return _opened[key]


def _usable_exemplars(
    template: Template | None,
    asked: render.Filled | None,
    candidates: Sequence[tuple[int, render.AnsweredRow]],
) -> _Shots:
    """Exemplars that fill the template and do not repeat the query's text (duplicate rows do)."""
    if template is None or asked is None:
        return _Shots((), ())
    usable = [
        (row, filled)
        for row, shot in candidates
        if render.is_complete(template, shot.slots)
        and (filled := render.fill(template, shot.slots)).input != asked.input
    ]
    return _Shots(tuple(row for row, _ in usable), tuple(filled for _, filled in usable))


def _count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in VOCABULARY.encode_batch(texts)]


class DropCounter:
    """Counts the examples of a stream that have to be left out, and tells of them."""

    def __init__(self, names: Sequence[str], lengths: Lengths):
        self._names = names
        self._lengths = lengths
        self._seen: collections.Counter[int] = collections.Counter()
        self._dropped: collections.Counter[tuple[int, str]] = collections.Counter()

    def add(self, task: int, examples: Sequence[Example | str]) -> None:
        """Counts some more examples of a task; warns at 1, 2, 4, 8, … dropped for a reason.

        Raises:
          SourceError: every one of a great many examples of the whole stream was dropped.
        """
        self._seen[task] += len(examples)
        for reason, count in collections.Counter(e for e in examples if isinstance(e, str)).items():
            before = self._dropped[task, reason]
            self._dropped[task, reason] += count
            if before.bit_length() != (before + count).bit_length():
                logging.warning(
                    "%s: %d of %d examples dropped: %s (%s).",
                    *(self._names[task], before + count, self._seen[task]),
                    *(reason, self._lengths),
                )
        total = self._seen.total()
        if total >= _HOPELESS and total == self._dropped.total():
            raise SourceError(
                f"each of the first {total} examples was dropped: "
                f"{', '.join(sorted({reason for _, reason in self._dropped}))} ({self._lengths})",
                where=", ".join(self._names[:3]) + (", …" if len(self._names) > 3 else ""),
                remedy="Raise the task feature lengths, or look at the rows.",
            )


def _fits(example: Example, lengths: Lengths) -> bool:
    return (lengths.inputs is None or len(example.inputs) <= lengths.inputs) and (
        lengths.targets is None or len(example.targets) <= lengths.targets
    )
