"""Puts runs together that differ in their seed only."""

import dataclasses
import re
from collections.abc import Sequence

from report_runs import Run

_SEED = re.compile(r"[/_.-]?(seed|s)?[_-]?\d+$")


@dataclasses.dataclass(frozen=True)
class Group:
    """A column of the report: a run, or runs of one configuration with several seeds.

    Attributes:
      name: the run's, or what the names of its runs have in common.
      runs: by their seeds.
    """

    name: str
    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        """The run that stands for all where one will do: of the smallest seed."""
        return self.runs[0]


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The groups in the order of their first runs; a run without configuration is alone."""
    groups: list[list[Run]] = []
    for run in runs:
        for members in groups:
            same = bool(run.seed) and run.kind == members[0].kind
            if same and run.seed not in {each.seed for each in members}:
                members.append(run)
                break
        else:
            groups.append([run])
    return [_group(members) for members in groups]


def _group(members: Sequence[Run]) -> Group:
    ordered = tuple(sorted(members, key=lambda run: (len(run.seed), run.seed)))
    if len(ordered) == 1:
        return Group(ordered[0].name, ordered)
    shared = {_SEED.sub("", run.name) for run in ordered}
    name = shared.pop() if len(shared) == 1 else f"{ordered[0].name} …"
    return Group(name or ordered[0].name, ordered)
