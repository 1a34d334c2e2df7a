"""The stream of prompts: which example stands at which position of a task or a mixture.

Whole batches are located, drawn, rendered and tokenized in one call of plain Python and NumPy,
whatever tasks their examples belong to. A position is all the state there is: the same seed and
position give the same example in any process. A task is a mixture of one.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging

from flan_tasks import contamination, draws, fewshot, sources, stream, vocabulary
from flan_tasks.contamination import DropList
from flan_tasks.errors import SourceError
from flan_tasks.variants import Draft, VariantPipeline

# Determinism is a feature: a run that names no seed has this one.
DEFAULT_SEED = 0

# What a draw is for; part of its key, so that no two choices of an example hang together.
_TEMPLATE, _STYLE, _EXEMPLARS = range(3)
# A stream whose first so many examples are all too long gives none: say so instead of looping.
_HOPELESS = 4096
_TOO_LONG = "too long, even without exemplars"
_INCOMPLETE = "a field that every template asks for is empty"


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Longest inputs and targets, in tokens with the end-of-sequence token; None: no limit."""

    inputs: int | None = None
    targets: int | None = None

    @classmethod
    def of(cls, sequence_length: Mapping[str, int] | None) -> "Lengths":
        """The lengths in seqio's form, {"inputs": n, "targets": n}."""
        limits = sequence_length or {}
        return cls(limits.get("inputs"), limits.get("targets"))

    def __str__(self) -> str:
        return f"inputs {self.inputs} / targets {self.targets} tokens"


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A tokenized prompt and where it comes from.

    Attributes:
      inputs, targets: token ids with the end-of-sequence token.
      references: every acceptable answer, for the metrics.
      group: the same number for examples that a metric scores together, 0 if none does.
      task: the task.
      row: row of the split.
      index: epoch * number of rows + row; the seed, the task's name and this index decide all else.
      template: id of the template, e.g. "bool_q/3" or "bool_q/inverted/0".
      style: name of the style of options or of speakers, "" without either.
      exemplars: rows of the exemplars, in the order shown.
    """

    inputs: list[int]
    targets: list[int]
    inputs_pretokenized: str
    targets_pretokenized: str
    references: tuple[str, ...]
    group: int
    task: VariantPipeline
    split: str
    row: int
    index: int
    template: str
    style: str
    exemplars: tuple[int, ...]


class PromptStream:
    """The examples of some tasks in the order of their positions.

    Args:
      tasks: the tasks.
      rates: relative rate of each; None: every row of every task once an epoch.
      split: which split of each task.
      shuffle: whether rows come in a drawn order.
      seed: what everything is drawn from.
      lengths: the model's lengths; longer examples are left out.
      num_epochs: how often all rows come, whatever the rates; None: without end.
      prepare_missing: whether rows that are not prepared are prepared now, or an error.
      drop_list: rows that are neither asked about nor shown as exemplars.

    Attributes:
      num_positions: how many positions there are; None: without end.

    Raises:
      FlanError: rows cannot be had, or the vocabulary cannot be read.
    """

    def __init__(
        self,
        tasks: Sequence[VariantPipeline],
        rates: Sequence[float] | None,
        *,
        split: str,
        shuffle: bool,
        seed: int,
        lengths: Lengths,
        num_epochs: int | None,
        prepare_missing: bool,
        drop_list: DropList = contamination.NOTHING,
    ):
        # A missing vocabulary is an error here, not in a thread of tf.data.
        self._tokenizer = vocabulary.tokenizer()
        self._tasks = tasks
        self._split = split
        self._seed = seed
        self._lengths = lengths
        settings = sources.settings()
        self._opened = [
            task.open(split, settings, prepare_missing=prepare_missing, drop_list=drop_list)
            for task in tasks
        ]
        self._kept = stream.Kept([rows_of.queries.left_out for rows_of in self._opened])
        self._kept_shots = stream.Kept([rows_of.shots.left_out for rows_of in self._opened])
        self._table = _Table(
            key=np.array([task.key for task in tasks], np.uint64),
            num_templates=np.array([len(task.templates) for task in tasks]),
            num_styles=np.array([max(1, len(task.styles)) for task in tasks]),
            num_rows=np.array([rows_of.queries.num_rows for rows_of in self._opened]),
            num_shots=np.array([rows_of.shots.num_kept for rows_of in self._opened]),
            same_split=np.array([rows_of.shots is rows_of.queries for rows_of in self._opened]),
            few_shot=np.array([task.variant.few_shot for task in tasks]),
        )
        num_rows = [rows_of.queries.num_kept for rows_of in self._opened]
        keys = self._table.key.tolist()
        if rates is None or num_epochs is not None:
            every_row = stream.EveryRow(num_rows, seed=seed, shuffle=shuffle)
            self._locate = every_row.locate
            self.num_positions = None if num_epochs is None else num_epochs * len(every_row)
        else:
            self._locate = stream.ByRate(num_rows, rates, keys, seed=seed, shuffle=shuffle).locate
            self.num_positions = None
        self._fitter = fewshot.Fitter(self._tokenizer.encode_batch)
        self._drops = _DropCounter([task.name for task in tasks], lengths)

    def examples(self, positions: np.ndarray) -> list[Example | None]:
        """The examples at int64 positions [n]; None for one that has to be left out.

        What is left out is counted, and told of.

        Raises:
          SourceError: all of a great many examples were left out.
        """
        found = self._find(positions)
        made: list[Example | str] = self._tokenized(self._drafts(found), found)
        self._drops.add(found.task, made)
        return [each if isinstance(each, Example) else None for each in made]

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where int64 positions [n] lead to, be it an example that has to be left out.

        Returns:
          The number of the task, the row, and the index (see `Example`): int64 [n] each.
        """
        found = self._find(positions)
        return found.task, found.row, found.index

    def _find(self, positions: np.ndarray) -> "_Found":
        located = self._locate(positions)
        row = self._kept.rows(located.task, located.row)
        # Of all rows, kept or not: what a row is asked does not depend on which others are kept.
        index = located.epoch * self._table.num_rows[located.task] + row
        return _Found(located.task, row, index, place=located.row)

    def _drafts(self, found: "_Found") -> list[Draft | None]:
        table, task = self._table, found.task
        key = draws.hash64(self._seed, table.key[task], found.index)
        starts = draws.below(table.num_templates[task], key, _TEMPLATE).tolist()
        styles = draws.below(table.num_styles[task], key, _STYLE).tolist()
        shots = self._draw_shots(found, key)
        drafts = []
        for place, (number, row) in enumerate(zip(task.tolist(), found.row.tolist(), strict=True)):
            pipeline = self._tasks[number]
            drafts.append(
                pipeline.draft(
                    self._opened[number],
                    row,
                    start=starts[place],
                    style=pipeline.styles[styles[place]] if pipeline.styles else None,
                    num_shots=shots[place][0],
                    shot_rows=shots[place][1],
                )
            )
        return drafts

    def _draw_shots(self, found: "_Found", key: np.ndarray) -> list[tuple[int, list[int]]]:
        """For each example how many exemplars it gets, and the rows to try."""
        shots: list[tuple[int, list[int]]] = [(0, [])] * len(key)
        few_shot = np.flatnonzero(self._table.few_shot[found.task])
        task = found.task[few_shot]
        counts, available, places = fewshot.draw_exemplars(
            found.place[few_shot],
            draws.hash64(key[few_shot], _EXEMPLARS),
            self._table.num_shots[task],
            self._table.same_split[task],
        )
        rows = self._kept_shots.rows(task[:, None], places)
        drawn = (few_shot.tolist(), counts.tolist(), available.tolist(), rows.tolist())
        for place, count, distinct, chosen in zip(*drawn, strict=True):
            shots[place] = count, chosen[:distinct]
        return shots

    def _tokenized(self, drafts: Sequence[Draft | None], found: "_Found") -> list[Example | str]:
        complete = [draft for draft in drafts if draft]
        # Room for the end-of-sequence token.
        budget = None if self._lengths.inputs is None else self._lengths.inputs - 1
        kept, inputs = self._fitter.fit([draft.prompt for draft in complete], budget)
        targets = self._tokenizer.encode_batch([draft.target for draft in complete])
        tokens = iter(zip(kept, inputs, targets, strict=True))
        rows = zip(found.task.tolist(), found.row.tolist(), found.index.tolist(), strict=True)
        return [
            self._example(draft, *row, *next(tokens)) if draft else _INCOMPLETE
            for draft, row in zip(drafts, rows, strict=True)
        ]

    def _example(
        self,
        draft: Draft,
        task: int,
        row: int,
        index: int,
        num_exemplars: int,
        inputs: list[int],
        targets: list[int],
    ) -> Example | str:
        inputs.append(self._tokenizer.end_of_sequence)
        targets.append(self._tokenizer.end_of_sequence)
        if not self._fits(inputs, targets):
            return _TOO_LONG
        return Example(
            inputs=inputs,
            targets=targets,
            inputs_pretokenized=draft.prompt.text(num_exemplars),
            targets_pretokenized=draft.target,
            references=draft.references,
            group=draft.group,
            task=self._tasks[task],
            split=self._split,
            row=row,
            index=index,
            template=draft.template,
            style=draft.style,
            exemplars=draft.exemplars[:num_exemplars],
        )

    def _fits(self, inputs: list[int], targets: list[int]) -> bool:
        longest = self._lengths
        return (longest.inputs is None or len(inputs) <= longest.inputs) and (
            longest.targets is None or len(targets) <= longest.targets
        )


@dataclasses.dataclass(frozen=True)
class _Found:
    """What some positions lead to: int64 arrays [n].

    Attributes:
      task: number of the task.
      row: row of the split.
      index: see `Example`.
      place: place of the row among those that are kept.
    """

    task: np.ndarray
    row: np.ndarray
    index: np.ndarray
    place: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Table:
    """What the draws need to know of the tasks: arrays [number of tasks]."""

    key: np.ndarray
    num_templates: np.ndarray
    num_styles: np.ndarray
    num_rows: np.ndarray
    num_shots: np.ndarray
    same_split: np.ndarray
    few_shot: np.ndarray


class _DropCounter:
    """Counts the examples of a stream that have to be left out, and tells of them."""

    def __init__(self, names: Sequence[str], lengths: Lengths):
        self._names = names
        self._lengths = lengths
        self._seen = np.zeros(len(names), np.int64)
        self._dropped: collections.Counter[tuple[int, str]] = collections.Counter()

    def add(self, tasks: np.ndarray, examples: Sequence[Example | str]) -> None:
        """Counts some more examples; warns at 1, 2, 4, 8, … of a task dropped for a reason.

        Raises:
          SourceError: every one of a great many examples of the whole stream was dropped.
        """
        np.add.at(self._seen, tasks, 1)
        dropped = collections.Counter(
            (task, example)
            for task, example in zip(tasks.tolist(), examples, strict=True)
            if isinstance(example, str)
        )
        for (task, reason), count in dropped.items():
            before = self._dropped[task, reason]
            self._dropped[task, reason] += count
            if before.bit_length() != (before + count).bit_length():
                logging.warning(
                    "%s: %d of %d examples dropped: %s (%s).",
                    *(self._names[task], before + count, self._seen[task]),
                    *(reason, self._lengths),
                )
        if dropped:
            self._check_hope()

    def _check_hope(self) -> None:
        total = int(self._seen.sum())
        if total < _HOPELESS or total > self._dropped.total():
            return
        raise SourceError(
            f"each of the first {total} examples was dropped: "
            f"{', '.join(sorted({reason for _, reason in self._dropped}))} ({self._lengths})",
            where=", ".join(self._names[:3]) + (", …" if len(self._names) > 3 else ""),
            remedy="Raise the task feature lengths, or look at the rows.",
        )
