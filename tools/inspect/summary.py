"""A mixture in figures: of each group of its tasks, and of the whole."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import groups
from drawing import Drawing, Lengthy
from groups import Group
from mixture_named import Mixture

from flan_tasks import manifests

# Parts of a mixture are compared with the whole only where this much of it is known.
_ALMOST_ALL = 0.99


@dataclasses.dataclass(frozen=True)
class Training:
    """How much is trained: steps of so many rows.

    Attributes:
      steps, batch: the run's.
      examples_per_row: None: as many as packing the drawn examples puts in one.
    """

    steps: int
    batch: int
    examples_per_row: float | None


@dataclasses.dataclass(frozen=True)
class Figures:
    """What is known of a group; None: not known.

    Attributes:
      group: the group.
      epochs: how often training goes through its rows.
      known: the part of it, by rate, whose rows are at hand; what follows is of these.
      lengthy: how long its examples are.
      token_share: its part of all input and target tokens.
    """

    group: Group
    epochs: float | None
    known: float
    lengthy: Lengthy | None
    token_share: float | None

    def as_json(self) -> dict[str, Any]:
        """The figures as plain data."""
        group, lengthy = self.group, self.lengthy
        return {
            "name": group.name,
            "rate": group.rate,
            "tasks": len(group.leaves),
            "datasets": group.num_datasets,
            "cap": group.cap,
            "num_examples": group.num_examples,
            "epochs": self.epochs,
            "known": self.known,
            "drawn": lengthy and lengthy.drawn,
            "input_tokens": lengthy and lengthy.inputs,
            "target_tokens": lengthy and lengthy.targets,
            "token_share": self.token_share,
            "dropped": lengthy and lengthy.dropped,
            "density": lengthy and dict(lengthy.density),
        }


class Summary:
    """The figures of a mixture.

    Attributes:
      mixture: the mixture.
      drawing: its drawn examples.
      training: how much is trained.
      whole: the mixture as one group.
    """

    def __init__(self, mixture: Mixture, drawing: Drawing, training: Training):
        self.mixture = mixture
        self.drawing = drawing
        self.training = training
        leaves = mixture.resolved.leaves
        self.whole = Group(mixture.name, tuple(range(len(leaves))), leaves)

    @functools.cached_property
    def lengthy(self) -> Lengthy | None:
        """How long the mixture's drawn examples are."""
        return self.drawing.lengths_of(self.whole)

    @functools.cached_property
    def examples_per_row(self) -> float | None:
        """Examples in a packed row, as given or as the drawn ones pack; None: not known."""
        if self.training.examples_per_row or not self.lengthy:
            return self.training.examples_per_row
        return self.lengthy.drawn * (1 - self.lengthy.dropped) / self.lengthy.rows

    @functools.cached_property
    def num_seen(self) -> float | None:
        """Examples that training sees; None: not known how many fit a row."""
        if self.examples_per_row is None:
            return None
        return self.training.steps * self.training.batch * self.examples_per_row

    @functools.cached_property
    def of_ways(self) -> Mapping[str, Sequence[Figures]]:
        """Way of grouping -> the groups, the largest rate first."""
        leaves = self.mixture.resolved.leaves
        return {
            way: [self._figures(group) for group in groups.grouped(leaves, way)]
            for way in groups.WAYS
        }

    @functools.cached_property
    def of_tasks(self) -> Sequence[Figures]:
        """Each task, in order."""
        return [self._figures(group) for group in groups.each_task(self.mixture.resolved.leaves)]

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data; `leaves` are the mixture, the rest is reckoned from them."""
        return {
            "mixture": self.mixture.name,
            "leaves": list(map(manifests.leaf_fields, self.mixture.resolved.leaves)),
            "missing": dict(self.mixture.resolved.missing),
            "training": {
                **dataclasses.asdict(self.training),
                "examples_per_row": self.examples_per_row,
                "examples": self.num_seen,
            },
            "rows_at_hand": self.drawing.kinds,
            "lengths": dataclasses.asdict(self.drawing.lengths),
            "whole": self._figures(self.whole).as_json(),
            "groups": {
                way: [each.as_json() for each in figures] for way, figures in self.of_ways.items()
            },
            "tasks": [each.as_json() for each in self.of_tasks],
        }

    def _figures(self, group: Group) -> Figures:
        lengthy = self.lengthy if group is self.whole else self.drawing.lengths_of(group)
        epochs = token_share = None
        if self.num_seen is not None:
            # Rows whose examples are dropped are gone through like the others.
            passed = self.num_seen / (1 - (self.lengthy.dropped if self.lengthy else 0))
            epochs = passed * group.rate / group.num_examples
        if lengthy and self.lengthy and self.drawing.known > _ALMOST_ALL:
            token_share = _tokens(lengthy) / _tokens(self.lengthy)
        return Figures(group, epochs, self.drawing.known_of(group), lengthy, token_share)


def _tokens(lengthy: Lengthy) -> float:
    return lengthy.drawn * (1 - lengthy.dropped) * (lengthy.inputs + lengthy.targets)
