"""Published scores of T5 and Flan-T5, from report_published.tsv, by suite and size of the model."""

import csv
import dataclasses
import functools
import pathlib

import cost_config
import cost_model
from report_runs import Run


@dataclasses.dataclass(frozen=True)
class Published:
    """Scores of a suite in one setting at one size, as a paper gives them.

    Attributes:
      t5: of the LM-adapted T5 that finetuning began with.
      flan_t5: of Flan-T5.
      source: the paper and the number of its table.
      remark: what the paper leaves open.
    """

    t5: float
    flan_t5: float
    source: str
    remark: str


def size_of(run: Run) -> str:
    """The published size that has as many parameters as the run's model; "" if none has."""
    return _sizes().get(parameters(run) or 0, "")


def parameters(run: Run) -> int | None:
    """Of the run's model; None if it is not recorded."""
    if run.configuration is None:
        return None
    return sum(cost_model.parameters(run.configuration.model).values())


def find(suite: str, metric: str, size: str) -> Published | None:
    """What is published of a suite with its setting, such as "mmlu_5shot"."""
    return _table().get((suite, metric, size))


@functools.cache
def _table() -> dict[tuple[str, str, str], Published]:
    found = {}
    with pathlib.Path(__file__).with_suffix(".tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            entry = Published(
                float(row["t5"]), float(row["flan_t5"]), row["source"], row["remark"] or ""
            )
            for setting in row["setting"].split("|"):
                found[f"{row['suite']}_{setting}", row["metric"], row["size"]] = entry
    return found


@functools.cache
def _sizes() -> dict[int, str]:
    sizes = {size for _, _, size in _table()}
    models = {size: cost_config.read(size).model for size in sizes}
    return {sum(cost_model.parameters(model).values()): size for size, model in models.items()}
