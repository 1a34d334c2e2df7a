"""What tools/inventory.py knows: the rows of the paper's inventory, and what is there of each."""

import csv
import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import doctor_diagnosis

from flan_tasks import sources
from flan_tasks.spec import Dataset, Template, slots

_INVENTORY = pathlib.Path(__file__).with_name("inventory.tsv")
# Chain-of-thought rows say what is asked for; what is not asked for is given.
_ASKED_FOR = {
    "answer": {"chain_of_thought", "answer"},
    "question": {"question"},
    "rationale": {"chain_of_thought"},
    "question and answer": {"question", "answer"},
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the inventory.

    Attributes:
      collection: as in our cards.
      source: the source dataset, by the paper's name.
      category: of the task, as the paper has it.
      direction: "forward" or "inverted"; of chain-of-thought what is asked for: "answer",
        "question", "rationale" or "question and answer".
      dataset: our name of the dataset.
      note: where the paper's name and ours are not plainly the same.
    """

    collection: str
    source: str
    category: str
    direction: str
    dataset: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row, and what is registered for it.

    Attributes:
      row: the row.
      dataset: None if there is none of that name.
      templates: those that ask in the row's direction.
      tasks: names of the seqio tasks that draw from them.
      state: of the source, as tools/doctor.py has it.
    """

    row: Row
    dataset: Dataset | None
    templates: Sequence[Template] = ()
    tasks: Sequence[str] = ()
    state: str = ""

    @property
    def is_there(self) -> bool:
        """Whether the row can be trained on once its data are had."""
        return bool(self.templates and self.tasks)

    @property
    def lacks(self) -> str:
        """What keeps the row from being there."""
        if self.dataset is None:
            return f"there is no dataset {self.row.dataset}"
        return f"{self.row.dataset} has no template for it"

    @property
    def num_examples(self) -> int:
        """Rows to train on."""
        return self.dataset.num_examples.get("train", 0) if self.dataset else 0


def entries(datasets: Sequence[Dataset], *, with_missing: bool) -> tuple[list[Entry], list[Entry]]:
    """The entries of the inventory's rows, and those of what the inventory does not name.

    Args:
      datasets: what there is; rows of other datasets are left out,
      with_missing: or are entries without a dataset.
    """
    by_name = {dataset.name: dataset for dataset in datasets}
    with _INVENTORY.open(encoding="utf-8", newline="") as file:
        rows = [Row(**row) for row in csv.DictReader(file, delimiter="\t")]
    named = {row.dataset for row in rows}
    beyond = [row for each in datasets if each.name not in named for row in _own_rows(each)]
    rows = [row for row in rows if with_missing or row.dataset in by_name]
    states = _states(datasets)
    return (
        [_entry(row, by_name.get(row.dataset), states) for row in rows],
        [_entry(row, by_name.get(row.dataset), states) for row in beyond],
    )


def _own_rows(dataset: Dataset) -> Iterator[Row]:
    for inverted in sorted({variant.inverted for variant in dataset.variants}):
        direction = "inverted" if inverted else "forward"
        yield Row(dataset.collection, dataset.family, dataset.kind, direction, dataset.name)


def _states(datasets: Iterable[Dataset]) -> dict[str, str]:
    settings = sources.settings()
    return {each.name: doctor_diagnosis.diagnose(each, settings).best.state for each in datasets}


def _entry(row: Row, dataset: Dataset | None, states: dict[str, str]) -> Entry:
    if dataset is None:
        return Entry(row, None)
    inverted = row.direction not in ("forward", "answer")
    templates: Sequence[Template] = dataset.inverted if inverted else dataset.templates
    if row.direction in _ASKED_FOR:
        wanted = _ASKED_FOR[row.direction]
        templates = [each for each in templates if set(slots(each.target)) == wanted]
    variants = [each for each in dataset.variants if each.inverted == inverted]
    tasks = [f"{dataset.name}_{variant.name}" for variant in variants]
    return Entry(row, dataset, templates, tasks, states[dataset.name])
