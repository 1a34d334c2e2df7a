"""What an evaluation card says: a benchmark's rows, and the fixed ways in which it is asked.

Rows are those of a `Dataset`, as in training: same sources, cleaning and store. What differs is the
asking: nothing is drawn. A setting has one template, one layout of options and the first exemplars
of a split that is never evaluated on, or those of a published prompt.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from flan_tasks.options import ItemStyle, OptionStyle
from flan_tasks.spec import Dataset, Template

# The split that exemplars come from; no task has it.
EXEMPLARS = "exemplars"


@dataclasses.dataclass(frozen=True)
class Listing(OptionStyle):
    """Options in one fixed layout; the answer may be written otherwise than the label.

    Attributes:
      says: how the right option is written as the answer, with {mark} and {text}.
    """

    says: str = "{text}"

    def answer(self, options: Sequence[str], index: int) -> str:
        """What the model is expected to answer for the option at `index`."""
        return self.says.format(mark="ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index], text=options[index])


def listing(*, label: str, says: str, lead_in: str = "", between: str = "\n") -> Listing:
    """A layout: `label` is written before each option, with {mark} where it is a letter."""
    item = ItemStyle(label, "upper", " ", between, "{mark}" in says)
    return Listing(lead_in, item, "", says)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One way of asking a benchmark.

    Attributes:
      name: what the task's name ends in, e.g. "5shot".
      template: how a row is asked; None: the first template of the dataset's own that fits it.
      shot: how an exemplar is written; None: as a row is asked and answered.
      num_shots: how many exemplars.
      shots_of: dataset that the exemplars come from; "": the split EXEMPLARS of the same one.
      same: field of an exemplar -> column of the dataset's table that it agrees with.
      options: layout of the options; None: they are part of the question, or there are none.
      reads: how the answer is read off an output, a kind of `extraction`; "own": words where the
        dataset has options, else text.
      metrics: further metrics of `flan_tasks.metrics`; "own": the dataset's.
      ranked: whether there is also a task that ranks the options by likelihood.
    """

    name: str
    template: Template | None
    reads: str
    shot: Template | None = None
    num_shots: int = 0
    shots_of: str = ""
    same: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: Listing | None = None
    metrics: tuple[str, ...] = ()
    ranked: bool = False


@dataclasses.dataclass(frozen=True)
class Suite:
    """A benchmark: its datasets and how they are asked.

    Attributes:
      name: what its mixtures are called after: eval_{name}_{setting}.
      datasets: its datasets, by the name that their tasks begin with.
      settings: how they are asked.
      splits: split of a task -> split of its dataset.
      groups: task's beginning -> what it counts as in the suite's average, where several datasets
        count as one.
    """

    name: str
    datasets: Mapping[str, Dataset]
    settings: tuple[Setting, ...]
    splits: Mapping[str, str]
    groups: Mapping[str, str] = dataclasses.field(default_factory=dict)
