"""The pipeline of one dataset in one variant: rows in, tokenized examples with provenance out.

Built forward: slots, template, exemplars, text, tokens. A batch of rows is read, rendered and
tokenized at once. Every draw is a function of the seed, the task's name and the example's index.
"""

import dataclasses
from collections.abc import Sequence

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

    def open(self, split: str, *, prepare_missing: bool = True) -> store.PreparedSplit:
        """The prepared rows of a split."""
        settings = sources.settings()
        key = (self.dataset.name, split, repr(settings))
        if key not in _opened:
            _opened[key] = store.open_split(
                self.dataset, split, settings, prepare_missing=prepare_missing
            )
        return _opened[key]

    def examples(
        self, split: str, rows: np.ndarray, indices: np.ndarray, *, seed: int, lengths: Lengths
    ) -> list[Example | None]:
        """The examples of some rows; None for one that is too long even without exemplars.

        Args:
          split: the rows' split.
          rows: int64 [n], row numbers.
          indices: int64 [n], the examples' indices: epoch * number of rows + row.
          seed: the run's seed.
          lengths: the model's lengths.
        """
        key = draws.hash64(seed, self._key, indices)
        drafts = self._drafts(split, rows, key)
        kept = self._fit(drafts, lengths)
        texts = [draft.prompt.text(n) for draft, n in zip(drafts, kept, strict=True)]
        inputs = VOCABULARY.encode_batch(texts)
        targets = VOCABULARY.encode_batch([draft.target for draft in drafts])
        eos = VOCABULARY.eos_id
        examples = [
            Example(
                inputs=inputs[i] + [eos],
                targets=targets[i] + [eos],
                inputs_pretokenized=texts[i],
                targets_pretokenized=draft.target,
                references=draft.references,
                row=int(rows[i]),
                index=int(indices[i]),
                template=f"{self.dataset.family}/{draft.template.id}",
                option_style=draft.option_style,
                exemplars=draft.exemplars[: kept[i]],
            )
            for i, draft in enumerate(drafts)
        ]
        return [example if _fits(example, lengths) else None for example in examples]

    def _drafts(self, split: str, rows: np.ndarray, key: np.ndarray) -> list[_Draft]:
        styles = self._draw_styles(key)
        queries = self._answered(split, rows, styles)
        starts = draws.below(len(self.templates), key, _TEMPLATE)
        templates = [
            self._template(query.slots, int(start), split, int(row))
            for query, start, row in zip(queries, starts, rows, strict=True)
        ]
        shots = self._exemplars(split, rows, key, styles, templates, queries)
        drafts = []
        for query, template, style, shot in zip(queries, templates, styles, shots, strict=True):
            filled = render.fill(template, query.slots)
            shot_rows, shot_texts = shot
            if self.variant.few_shot:
                prompt = fewshot.lay_out(template, filled, shot_texts)
            else:
                prompt = fewshot.FewShotPrompt(filled.preamble, (), filled.input)
            references = (filled.target,) if self._target_stands_alone else query.references
            drafts.append(
                _Draft(
                    prompt,
                    filled.target,
                    references,
                    template,
                    style.name if style else "",
                    shot_rows,
                )
            )
        return drafts

    @property
    def _target_stands_alone(self) -> bool:
        # The row's references answer the row's question; an inverted prompt asks something else.
        return self.variant.inverted or not self.dataset.answer.references

    def _draw_styles(self, key: np.ndarray) -> list[options.OptionStyle | None]:
        if not self._lists_options:
            return [None] * len(key)
        return [options.STYLES[i] for i in draws.below(len(options.STYLES), key, _OPTIONS)]

    def _answered(self, split, rows, styles) -> list[render.AnsweredRow]:
        columns = self.open(split).read(np.asarray(rows, np.int64))
        answer, constants = self.dataset.answer, self.dataset.constants
        return [
            render.answered({**constants, **dict(zip(columns, values, strict=True))}, answer, style)
            for style, *values in zip(styles, *columns.values(), strict=True)
        ]

    def _template(self, texts, start: int, split: str, row: int) -> Template:
        template = render.choose_template(self.templates, texts, start)
        if template is None:
            empty = sorted(name for name, text in texts.items() if not text)
            raise SourceError(
                f"every template needs a field that this row leaves empty ({', '.join(empty)})",
                where=f"{self.name}, split {split}, row {row}",
                remedy="Add a template that does without it, or drop such rows in cleaning.",
            )
        return template

    def _exemplars(
        self, split, rows, key, styles, templates, queries
    ) -> list[tuple[tuple[int, ...], list[render.Filled]]]:
        if not self.variant.few_shot:
            return [((), []) for _ in rows]
        shot_split = "train" if "train" in self.dataset.splits else split
        chosen = fewshot.draw_exemplars(
            rows,
            draws.hash64(key, _EXEMPLARS),
            self.open(shot_split).num_rows,
            same_split=shot_split == split,
        )
        counts = [len(shot_rows) for shot_rows in chosen]
        shot_styles = [style for style, n in zip(styles, counts, strict=True) for _ in range(n)]
        answered = iter(self._answered(shot_split, np.concatenate(chosen), shot_styles))
        shots = []
        for shot_rows, template, query in zip(chosen, templates, queries, strict=True):
            candidates = [(int(row), next(answered)) for row in shot_rows]
            shots.append(_usable_exemplars(template, query, candidates))
        return shots

    def _fit(self, drafts: Sequence[_Draft], lengths: Lengths) -> list[int]:
        if not self.variant.few_shot or lengths.inputs is None:
            return [len(draft.prompt.exemplars) for draft in drafts]
        budget = lengths.inputs - 1  # room for the end-of-sequence token
        return fewshot.fit([draft.prompt for draft in drafts], budget, _count_tokens)


def _usable_exemplars(
    template: Template,
    query: render.AnsweredRow,
    candidates: Sequence[tuple[int, render.AnsweredRow]],
) -> tuple[tuple[int, ...], list[render.Filled]]:
    """Exemplars that fill the template and do not repeat the query's text (duplicate rows do)."""
    asked = render.fill(template, query.slots).input
    usable = [
        (row, render.fill(template, shot.slots))
        for row, shot in candidates
        if render.is_complete(template, shot.slots)
    ]
    usable = [(row, filled) for row, filled in usable if filled.input != asked]
    return tuple(row for row, _ in usable), [filled for _, filled in usable]


def _count_tokens(texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in VOCABULARY.encode_batch(texts)]


class DropCounter:
    """Counts the examples of a stream that are too long, and tells of them."""

    def __init__(self, names: Sequence[str], lengths: Lengths):
        self._names = names
        self._lengths = lengths
        self._seen = np.zeros(len(names), np.int64)
        self._dropped = np.zeros(len(names), np.int64)

    def add(self, task: int, seen: int, dropped: int) -> None:
        """Counts some more examples of a task; warns at 1, 2, 4, 8, … dropped.

        Raises:
          SourceError: none of a great many examples of the whole stream fitted.
        """
        before = int(self._dropped[task])
        self._seen[task] += seen
        self._dropped[task] += dropped
        if before.bit_length() != int(self._dropped[task]).bit_length():
            logging.warning(
                "%s: %d of %d examples dropped: longer than %s.",
                *(self._names[task], self._dropped[task], self._seen[task], self._lengths),
            )
        total = int(self._seen.sum())
        if total >= _HOPELESS and total == self._dropped.sum():
            raise SourceError(
                f"each of the first {total} examples is longer than {self._lengths}",
                where=", ".join(self._names[:3]) + (", …" if len(self._names) > 3 else ""),
                remedy="Raise the task feature lengths.",
            )


def _fits(example: Example, lengths: Lengths) -> bool:
    return (lengths.inputs is None or len(example.inputs) <= lengths.inputs) and (
        lengths.targets is None or len(example.targets) <= lengths.targets
    )
