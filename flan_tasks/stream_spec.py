"""A stream of prompts as plain data: what a process needs to open the same stream as another.

Programs that render with many processes look a task or mixture up by name once, and send this to
their workers, which need neither the gin files nor seqio's registry.
"""

import dataclasses
import hashlib
import importlib.metadata
from typing import Any

import gin

import flan_tasks
from flan_tasks import contamination, sources, vocabulary
from flan_tasks.contamination import DropList
from flan_tasks.errors import MixtureError
from flan_tasks.prompts import Lengths, PromptStream
from flan_tasks.variants import OpenSplit, VariantPipeline

# The packages whose versions decide what the bytes of prompts and tokens are.
_PACKAGES = ("flan-tasks", "numpy", "pyarrow", "sentencepiece")
_MACRO = "MIXTURE_OR_TASK_NAME"


@dataclasses.dataclass(frozen=True)
class StreamSpec:
    """Everything that a stream of prompts depends on; picklable.

    Attributes:
      name: of the task or mixture.
      tasks: the tasks that have the split.
      rates: relative rate of each; None: a single task.
      split: which split of each task.
      seed: what everything is drawn from.
      lengths: longer examples are left out.
      num_epochs: how often all rows come; None: without end.
      sources: where rows are.
      vocabulary: path of the SentencePiece model.
      drop_list: rows that are left out.
    """

    name: str
    tasks: tuple[VariantPipeline, ...]
    rates: tuple[float, ...] | None
    split: str
    seed: int
    lengths: Lengths
    num_epochs: int | None
    sources: sources.Settings
    vocabulary: str
    drop_list: DropList

    def open(self, *, prepare_missing: bool) -> PromptStream:
        """The stream; settings of sources and vocabulary are then those of the spec.

        Raises:
          FlanError: rows or vocabulary cannot be had.
        """
        with gin.unlock_config():
            for field in dataclasses.fields(self.sources):
                value = getattr(self.sources, field.name)
                gin.bind_parameter(f"flan_tasks.sources.settings.{field.name}", value)
            gin.bind_parameter("flan_tasks.vocabulary.settings.path", self.vocabulary)
        return PromptStream(
            self.tasks,
            self.rates,
            split=self.split,
            shuffle=True,
            seed=self.seed,
            lengths=self.lengths,
            num_epochs=self.num_epochs,
            prepare_missing=prepare_missing,
            drop_list=self.drop_list,
        )

    def rows_of(self, task: VariantPipeline) -> OpenSplit:
        """The rows of one of the tasks, which must be prepared."""
        return task.open(self.split, self.sources, prepare_missing=False, drop_list=self.drop_list)

    def description(self) -> dict[str, Any]:
        """What the stream's examples depend on, as JSON has it; the rows must be prepared."""
        return {
            "name": self.name,
            "split": self.split,
            "seed": self.seed,
            "lengths": dataclasses.asdict(self.lengths),
            "num_epochs": self.num_epochs,
            "rates": dict(self._rates()),
            "datasets": self._datasets(),
            "drop_list": self.drop_list.checksum,
            "vocabulary": self.vocabulary,
            "versions": {package: _version(package) for package in _PACKAGES},
        }

    def shares(self) -> dict[str, float]:
        """Dataset -> its share of the examples."""
        rates = self._rates()
        total = sum(rate for _, rate in rates)
        shares: dict[str, float] = {}
        for task, (_, rate) in zip(self.tasks, rates, strict=True):
            shares[task.dataset.name] = shares.get(task.dataset.name, 0.0) + rate / total
        return shares

    def _rates(self) -> list[tuple[str, float]]:
        rates = self.rates or (1.0,) * len(self.tasks)
        return [(task.name, rate) for task, rate in zip(self.tasks, rates, strict=True)]

    def _datasets(self) -> dict[str, Any]:
        """Dataset -> fingerprint of its card, and the rows it has here."""
        described = {}
        for task in self.tasks:
            rows = self.rows_of(task).queries
            described[task.dataset.name] = {
                "card": hashlib.sha256(repr(task.dataset).encode()).hexdigest()[:16],
                "rows": rows.num_kept,
                "origin": rows.origin,
            }
        return described


def of_provider(
    name: str, *, split: str, seed: int, lengths: Lengths, num_epochs: int | None
) -> StreamSpec:
    """The stream of a registered task or mixture, under the settings in force.

    Raises:
      MixtureError: there is none of that name, it has no such split, or it is not of prompts.
    """
    provider_tasks, all_rates, drop_list = _parts(name)
    having = [i for i, task in enumerate(provider_tasks) if split in task.dataset.splits]
    if not having:
        splits = sorted({split for task in provider_tasks for split in task.dataset.splits})
        raise MixtureError(
            f"no task has a split {split!r}",
            where=name,
            remedy=f"Splits here: {', '.join(splits)}.",
        )
    return StreamSpec(
        name=name,
        tasks=tuple(provider_tasks[i] for i in having),
        rates=None if all_rates is None else tuple(all_rates[i] for i in having),
        split=split,
        seed=seed,
        lengths=lengths,
        num_epochs=num_epochs,
        sources=sources.settings(),
        vocabulary=vocabulary.settings().path,
        drop_list=drop_list,
    )


def name_in_gin() -> str | None:
    """The value of the gin macro MIXTURE_OR_TASK_NAME; None: not set.

    Where the value is a call that registers a mixture, that is done now.
    """
    try:
        gin.query_parameter(f"{_MACRO}/gin.macro.value")
    except ValueError:
        return None
    flan_tasks.register()
    with gin.config_scope(_MACRO):
        return gin.get_configurable("gin.macro")()


def _parts(name: str) -> tuple[list[VariantPipeline], list[float] | None, DropList]:
    """The tasks of a mixture, their rates, and the rows it does without; a task has no rates."""
    flan_tasks.register()
    from flan_tasks import mixtures  # seqio's; a worker, which is sent a spec, has no need of it

    provider = mixtures.find(name)
    if not isinstance(provider, mixtures.PromptMixture):
        return [provider.pipeline], None, contamination.NOTHING
    rates = list(map(provider.get_rate, provider.tasks))
    return [task.pipeline for task in provider.tasks], rates, provider.drop_list


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
