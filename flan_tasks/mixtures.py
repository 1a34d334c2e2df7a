"""Mixtures: real `seqio.Mixture` objects whose examples come from one stream.

A gin file builds one with a few lines:

    from flan_tasks import mixtures
    MIXTURE_OR_TASK_NAME = @mixtures.register()
    mixtures.register.name = 'mine'
    mixtures.register.datasets = ['bool_q', 'cot_gsm8k']
"""

import difflib
from collections.abc import Mapping, Sequence

import gin
import seqio
import tensorflow as tf

from flan_tasks import catalog, rates
from flan_tasks.errors import CardError, MixtureError
from flan_tasks.feed import Resumable, prompt_dataset
from flan_tasks.prompts import DEFAULT_SEED, Lengths, PromptStream
from flan_tasks.spec import Dataset
from flan_tasks.tasks import PromptTask

_NAMES_SUGGESTED = 3


class PromptMixture(Resumable, seqio.Mixture):
    """Tasks mixed by rate in one stream: start-up and memory do not grow with their number."""

    def get_dataset(
        self,
        sequence_length=None,
        split="train",
        use_cached=False,
        shuffle=True,
        seed=None,
        shard_info=None,
        num_epochs=None,
        copy_pretokenized=False,
        compute_stats_empirically=False,
        log_mixing_proportions=True,
        passthrough_features=None,
        trim_output_features=True,
        try_in_mem_cache=True,
    ) -> tf.data.Dataset:
        """The mixed examples; see `seqio.Mixture.get_dataset`.

        With `num_epochs` every row of every task comes that often, whatever the rates. Tasks
        without the split are left out. The order and all draws depend on `seed` alone (None is 0).

        Raises:
          FlanError: rows cannot be had, or no task has the split.
        """
        if use_cached:
            order = (shuffle, seed, shard_info, num_epochs)
            statistics = (compute_stats_empirically, log_mixing_proportions)
            return super().get_dataset(
                sequence_length,
                split,
                True,
                *order,
                copy_pretokenized,
                *statistics,
                passthrough_features,
                trim_output_features,
                try_in_mem_cache,
            )
        stream = self.stream(
            sequence_length,
            split=split,
            shuffle=shuffle,
            seed=seed,
            num_epochs=num_epochs,
            prepare_missing=shard_info is None or shard_info.num_shards == 1,
        )
        features = {*self.output_features, *(passthrough_features or ())}
        if copy_pretokenized:
            features |= {f"{name}_pretokenized" for name in self.output_features}
        return prompt_dataset(stream, features, shard_info=shard_info, start=self.start)

    def stream(
        self,
        sequence_length: Mapping[str, int] | None,
        *,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        num_epochs: int | None = None,
        prepare_missing: bool = True,
    ) -> PromptStream:
        """The mixed examples by position, without TensorFlow; see `get_dataset`."""
        tasks = [task for task in self.tasks if split in task.splits]
        if not tasks:
            raise MixtureError(
                f"no task has a split {split!r}",
                where=f"mixture {self.name}",
                remedy=f"Splits here: {', '.join(sorted(self.splits))}.",
            )
        return PromptStream(
            [task.pipeline for task in tasks],
            [self.get_rate(task) for task in tasks],
            split=split,
            shuffle=shuffle,
            seed=DEFAULT_SEED if seed is None else int(seed),
            lengths=Lengths.of(sequence_length),
            num_epochs=num_epochs,
            prepare_missing=prepare_missing,
        )


@gin.configurable
def register(
    name: str,
    datasets: Sequence[str] | None = None,
    shares: Mapping[str, float] = rates.FLAN2022_SHARES,
    caps: Mapping[str, int] = rates.CAPS,
    setting_weights: Mapping[str, float] | None = None,
    inversion_weights: Mapping[str, float] = rates.INVERSION_WEIGHTS,
) -> str:
    """Registers a mixture with seqio, once, and returns its name.

    Args:
      name: the mixture's name.
      datasets: names of datasets, or of families of them; None: all.
      shares: collection -> share of the mixture.
      caps: collection -> examples per task that count at most.
      setting_weights: setting -> weight, e.g. {"fs_opt": 0} for no few-shot prompts with options.
      inversion_weights: collection -> weight of inverted tasks; 0 leaves them out.

    Raises:
      MixtureError: an unknown dataset, nothing left to mix, or another mixture of that name.
    """
    balance = rates.Balance(shares, caps, setting_weights or {}, inversion_weights)
    return _register(name, _chosen(name, datasets), balance)


def register_published() -> None:
    """Registers the mixtures that the papers name, over the datasets that have a card here."""
    released = rates.Balance(rates.FLAN2022_SHARES, rates.CAPS, {}, rates.INVERSION_WEIGHTS)
    _register("flan2022", list(catalog.load().values()), released)


def find(name: str) -> PromptMixture | PromptTask:
    """The registered mixture or task of prompts of that name.

    Raises:
      MixtureError: there is none (near names are suggested), or it is not one of prompts.
    """
    known = [*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()]
    if name not in known:
        near = difflib.get_close_matches(name, known, _NAMES_SUGGESTED)
        raise MixtureError(
            f"there is no task or mixture {name!r}",
            where="MIXTURE_OR_TASK_NAME",
            remedy=f"Did you mean {' or '.join(near)}?"
            if near
            else f"There are {', '.join(known[:_NAMES_SUGGESTED])}, … ({len(known)} in all); a gin "
            "file may register more.",
        )
    provider = seqio.get_mixture_or_task(name)
    if not isinstance(provider, PromptMixture | PromptTask):
        raise MixtureError(
            f"{name!r} is not made from the cards of this package",
            where="MIXTURE_OR_TASK_NAME",
            remedy="Name a mixture or task that is; others can be trained on as they are.",
        )
    return provider


def _register(name: str, datasets: Sequence[Dataset], balance: rates.Balance) -> str:
    flat = rates.flat_rates(datasets, balance)
    if name in seqio.MixtureRegistry.names():
        if dict(seqio.MixtureRegistry.get(name).rate_per_task_name) != flat:
            raise MixtureError(
                "another mixture of this name is registered already",
                where=f"mixture {name}",
                remedy="Give mixtures.register.name a name of its own.",
            )
        return name
    seqio.MixtureRegistry.add(name, list(flat.items()), mixture_cls=PromptMixture)
    return name


def _chosen(mixture: str, names: Sequence[str] | None) -> list[Dataset]:
    if names is None:
        return list(catalog.load().values())
    try:
        chosen = [dataset for name in names for dataset in catalog.named(name)]
    except CardError as error:
        raise MixtureError(error.what, where=f"mixture {mixture}", remedy=error.remedy) from None
    return list({dataset.name: dataset for dataset in chosen}.values())
