"""Mixtures: real `seqio.Mixture` objects whose examples come from one stream.

A gin file builds one with a few lines:

    from flan_tasks import mixtures
    MIXTURE_OR_TASK_NAME = @mixtures.register()
    mixtures.register.name = 'mine'
    mixtures.register.include = ['bool_q', 'cot_gsm8k']

Published mixtures are there by name (`flan_tasks.published`), and to build on:

    mixtures.register.name = 'flan2022_without_cot'
    mixtures.register.base = 'flan2022'
    mixtures.register.exclude = ['collection:cot']
"""

import dataclasses
import difflib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import gin
import seqio
import tensorflow as tf
from absl import logging

from flan_tasks import contamination, manifests, rates, recipes
from flan_tasks.contamination import DropList
from flan_tasks.errors import MixtureError
from flan_tasks.feed import Resumable, prompt_dataset
from flan_tasks.prompts import DEFAULT_SEED, Lengths, PromptStream
from flan_tasks.published import BALANCE, PUBLISHED
from flan_tasks.recipes import Recipe, Resolved
from flan_tasks.tasks import PromptTask

_NAMES_SUGGESTED = 3
_MISSING_LISTED = 10


class PromptMixture(Resumable, seqio.Mixture):
    """Tasks mixed by rate in one stream: start-up and memory do not grow with their number.

    Attributes:
      drop_list: rows of the tasks that the mixture does without.
    """

    def __init__(self, *args, drop_list: DropList = contamination.NOTHING, **kwargs):
        super().__init__(*args, **kwargs)
        self.drop_list = drop_list

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
            self._check_nothing_is_dropped()
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
            drop_list=self.drop_list,
        )

    def manifest(self) -> dict[str, Any]:
        """What the mixture is, as JSON; see `flan_tasks.manifests`."""
        return manifests.describe(self.name, self.resolved, self.drop_list.checksum)

    @property
    def resolved(self) -> Resolved:
        """The tasks and their rates."""
        parts = [(task.pipeline.dataset, task.pipeline.variant) for task in self.tasks]
        shares = [self.get_rate(task) / self.total_rate for task in self.tasks]
        return Resolved(
            tuple(rates.leaf(*part, share) for part, share in zip(parts, shares, strict=True)), {}
        )

    def _check_nothing_is_dropped(self) -> None:
        if self.drop_list.path:
            raise MixtureError(
                f"seqio's caches hold all rows of the tasks, also those of {self.drop_list.path}",
                where=f"mixture {self.name}",
                remedy="Use no seqio cache, or one that tools/cache.py makes of the mixture.",
            )


class RecipeMixture(PromptMixture):
    """A mixture of a recipe's tasks; they are looked up when they are first asked for.

    There are a dozen published mixtures of thousands of tasks, and a run uses one.

    Attributes:
      recipe: what is mixed, or what that has come to.
    """

    def __init__(
        self, name: str, recipe: Recipe | Resolved, drop_list: DropList = contamination.NOTHING
    ):
        # In place of seqio's own constructor, which would look all tasks up at once.
        self._name = name
        self._sub_mixtures: list[seqio.Mixture] = []
        self._sample_fn = functools.partial(
            tf.data.Dataset.sample_from_datasets, stop_on_empty_dataset=True
        )
        self._source_info = None
        self.recipe = recipe
        self.drop_list = drop_list

    @functools.cached_property
    def resolved(self) -> Resolved:
        """The tasks and their rates.

        Raises:
          MixtureError: see `recipes.resolve`.
        """
        if isinstance(self.recipe, Resolved):
            return self.recipe
        try:
            resolved = recipes.resolve(self.recipe)
        except MixtureError as error:
            where = f"mixture {self.name}: {error.where}"
            raise MixtureError(error.what, where=where, remedy=error.remedy) from None
        if resolved.missing:
            names = ", ".join(list(resolved.missing)[:_MISSING_LISTED])
            more = ", …" if len(resolved.missing) > _MISSING_LISTED else ""
            count = len({leaf.dataset.name for leaf in resolved.leaves})
            logging.warning(
                "%s: %d datasets are mixed, %d are left out, their rows are not at hand: %s%s "
                "(the manifest lists all).",
                *(self.name, count, len(resolved.missing), names, more),
            )
        return resolved

    @functools.cached_property
    def tasks(self) -> list[seqio.Task]:
        """The tasks, in alphabetical order."""
        return [seqio.TaskRegistry.get(leaf.task) for leaf in self.resolved.leaves]

    @functools.cached_property
    def _task_to_rate(self) -> dict[str, float]:
        return self.resolved.rates

    @functools.cached_property
    def _task_map(self) -> dict[str, seqio.Task]:
        return {task.name: task for task in self.tasks}


@gin.configurable
def register(
    name: str,
    base: str | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    shares: Mapping[str, float] | None = None,
    cot_share: float | None = None,
    caps: Mapping[str, int] | None = None,
    setting_weights: Mapping[str, float] | None = None,
    few_shot_share: float | None = None,
    inversion_weights: Mapping[str, float] | None = None,
    temperature: float | None = None,
    num_datasets: int | None = None,
    subset_seed: int | None = None,
    on_missing: str | None = None,
    drop_rows: str | None = None,
) -> str:
    """Registers a mixture with seqio, once, and returns its name.

    What is not given is as in the base.

    Args:
      name: the mixture's name.
      base: a published mixture; None: all datasets, balanced as the released mixture balances.
      include: names of datasets or families, or terms that the datasets have to meet, such as
        "license:commercial"; see `flan_tasks.selection`.
      exclude: terms that none of them may meet, beside the base's, e.g. "held_out:niv2_test".
      shares: collection, or terms -> share of the mixture; {}: no groups, every task counts with
        its examples.
      cot_share: share of chain-of-thought; the others keep their proportions.
      caps: collection -> examples per task that count at most.
      setting_weights: setting -> weight, e.g. {"fs_opt": 0} for no few-shot prompts with options.
      few_shot_share: share of few-shot prompts in each group.
      inversion_weights: collection -> weight of inverted tasks; 0 leaves them out.
      temperature: 1: tasks count with their examples; higher: more alike; 1e999: all alike.
      num_datasets: so many datasets, drawn by `subset_seed`; those of a smaller number are among
        those of a larger one.
      subset_seed: what they are drawn by.
      on_missing: "error", or "skip" to leave out, and to tell of, datasets whose rows are not at
        hand.
      drop_rows: a file that tools/decontaminate.py wrote, of rows that the mixture does without, as
        queries and as exemplars; rates stay what they are, and caps count all rows.

    Raises:
      MixtureError: an unknown base, dataset or term, a number out of range, nothing left to mix, or
        another mixture of that name.
      StoreError: there is no such list of rows, or it is damaged.
    """
    recipe = _base(name, base)
    balance = _changed(
        recipe.balance,
        shares=shares,
        caps=caps,
        setting_weights=setting_weights,
        few_shot_share=few_shot_share,
        inversion_weights=inversion_weights,
        temperature=temperature,
    )
    if cot_share is not None:
        balance = dataclasses.replace(balance, shares=_with_share(balance.shares, "cot", cot_share))
    recipe = _changed(
        dataclasses.replace(recipe, balance=balance, exclude=(*recipe.exclude, *exclude)),
        include=None if include is None else tuple(include),
        num_datasets=num_datasets,
        subset_seed=subset_seed,
        on_missing=on_missing,
    )
    drop_list = contamination.read(drop_rows) if drop_rows else contamination.NOTHING
    return _add(RecipeMixture(name, recipe, drop_list))


@gin.configurable
def from_manifest(path: str, name: str | None = None, drop_rows: str | None = None) -> str:
    """Registers the mixture of a manifest, as training wrote it, and returns its name.

    Args:
      path: the manifest's file.
      name: the mixture's name; None: as in the manifest, with "_again".
      drop_rows: the list of rows that the mixture did without, if it did.

    Raises:
      MixtureError: it is no manifest; datasets, cards, templates or the list of rows are not what
        they were; or another mixture of that name is registered.
    """
    manifest = manifests.read(path)
    drop_list = contamination.read(drop_rows) if drop_rows else contamination.NOTHING
    if drop_list.checksum != manifest["drop_rows"]:
        raise MixtureError(
            "the mixture did without other rows" if drop_rows else "the mixture did without rows",
            where=path,
            remedy="Set mixtures.from_manifest.drop_rows to the list that it was made with.",
        )
    resolved = manifests.resolve(manifest, path)
    return _add(RecipeMixture(name or f"{manifest['mixture']}_again", resolved, drop_list))


def register_published() -> None:
    """Registers the mixtures of `flan_tasks.published`."""
    for name, recipe in PUBLISHED.items():
        seqio.MixtureRegistry.add_provider(name, RecipeMixture(name, recipe))


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


def _add(mixture: RecipeMixture) -> str:
    """Registers a mixture, whose faults then show; once, if it is the same again."""
    flat = mixture.resolved.rates
    if mixture.name not in seqio.MixtureRegistry.names():
        seqio.MixtureRegistry.add_provider(mixture.name, mixture)
        return mixture.name
    known = seqio.MixtureRegistry.get(mixture.name)
    same_rows = getattr(known, "drop_list", None) == mixture.drop_list
    if not same_rows or dict(known.rate_per_task_name) != flat:
        raise MixtureError(
            "another mixture of this name is registered already",
            where=f"mixture {mixture.name}",
            remedy="Give mixtures.register.name a name of its own.",
        )
    return mixture.name


def _base(mixture: str, base: str | None) -> Recipe:
    if base is None:
        return Recipe(BALANCE)
    if base not in PUBLISHED:
        near = difflib.get_close_matches(base, PUBLISHED, _NAMES_SUGGESTED)
        raise MixtureError(
            f"there is no published mixture {base!r} to build on",
            where=f"mixture {mixture}",
            remedy=f"There are: {', '.join(near or PUBLISHED)}.",
        )
    return PUBLISHED[base]


def _changed(record, **changes):
    """The record with those changes that are given."""
    given = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(record, **given)


def _with_share(shares: Mapping[str, float], group: str, share: float) -> dict[str, float]:
    """The shares with one of them set, and the others in proportion."""
    key = next((each for each in shares if each.removeprefix("collection:") == group), None)
    if key is None or not 0 <= share < 1:
        raise MixtureError(
            f"{group} cannot have a share of {share} beside {dict(shares)}",
            where="mixtures.register",
            remedy=f"Give a number of 0 to 1, 1 excepted, and shares that name {group!r}.",
        )
    others = sum(each for name, each in shares.items() if name != key)
    return {
        name: share if name == key else each / others * (1 - share) for name, each in shares.items()
    }
