"""Every card with a TFDS name reads what TFDS stores under that name: all its raw splits.

The rows are those that seqio's own TFDS source gives.
"""

import dataclasses

import numpy as np
import pytest
import seqio
import tensorflow_datasets as tfds

from flan_tasks import catalog, sources, splits, store, tfds_source

WITH_TFDS = [
    dataset.name
    for dataset in catalog.load().values()
    # A family of which TFDS holds all in one dataset is read as any of its datasets is.
    if dataset.source.tfds and not dataset.source.where
]


def sample_rows(dataset):
    with_samples = sources.settings(use=("samples",))
    return list(sources.raw_rows(dataset, "train", with_samples))


def feature_of(values):
    """The TFDS feature of a column, of the values that sample rows have in it."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {dict}:
        keys = {key: None for value in values for key in value}
        return {key: feature_of([v[key] for v in values if key in v]) for key in keys}
    if kinds == {list}:
        return tfds.features.Sequence(feature_of([each for value in values for each in value]))
    if kinds == {bool}:
        return np.bool_
    if kinds == {int}:
        return np.int64
    if kinds <= {int, float} and kinds:
        return np.float64
    assert kinds <= {str}, f"a column of {kinds} is none that TFDS can store"
    return tfds.features.Text()


def store_in_tfds(dataset, rows, data_dir):
    """Writes rows where and how TFDS keeps the card's dataset, as each of its raw splits."""
    path, _, version = dataset.source.tfds.partition(":")
    name, _, config = path.partition("/")
    features = tfds.features.FeaturesDict(feature_of(rows))
    raw_splits = sorted(
        {part.raw_split for each in dataset.splits.values() for part in splits.parse(each)}
    )

    class Stored(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager):
            return {split: enumerate(rows) for split in raw_splits}

        def _generate_examples(self, rows):
            yield from rows

    Stored.name = name
    Stored(data_dir=str(data_dir), config=config or None).download_and_prepare()
    return raw_splits


@pytest.mark.parametrize("name", WITH_TFDS)
def test_a_card_reads_what_tfds_stores(name, tmp_path):
    dataset = catalog.get(name)
    rows = sample_rows(dataset)
    raw_splits = store_in_tfds(dataset, rows, tmp_path)
    # Slices of real splits exceed the samples; that they are right is tested elsewhere.
    whole = dataclasses.replace(
        dataset, splits={split: split for split in raw_splits}, num_examples={}
    )
    settings = sources.settings(
        use=("tfds",), tfds_data_dir=str(tmp_path), store_dir=str(tmp_path / "store")
    )
    samples = dataclasses.replace(whole, splits={"train": "train[:-4]", "held_out": "train[-4:]"})
    expected = [
        split.row(row)
        for split in (
            store.open_split(samples, each, embedded(tmp_path)) for each in samples.splits
        )
        for row in range(split.num_rows)
    ]
    by_seqio = seqio.TfdsDataSource(
        dataset.source.tfds, splits=raw_splits, tfds_data_dir=str(tmp_path)
    )
    for split in raw_splits:
        found = store.open_split(whole, split, settings)
        assert found.origin.startswith("tfds: ")
        assert [found.row(row) for row in range(found.num_rows)] == expected
        read = tfds.as_numpy(by_seqio.get_dataset(split, shuffle=False))
        plain = [tfds_source._plain(row) for row in read]
        assert list(sources.raw_rows(whole, split, settings)) == plain


def embedded(folder):
    return sources.settings(use=("samples",), store_dir=str(folder / "store"))
