"""Raw rows from TensorFlow Datasets, as plain Python values. Imports TFDS only when used."""

import functools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from flan_tasks import readers
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row


def locate(name: str, raw_split: str, data_dir: str, *, fetch: bool) -> Origin:
    """A raw split of a TFDS dataset; its rows come in file order.

    Args:
      name: "name:1.0.0" or "name/config:1.0.0".
      raw_split: TFDS's name of the split.
      data_dir: TFDS's data directory; empty: seqio's override, TFDS_DATA_DIR or TFDS's default.
      fetch: whether a dataset that is not prepared is downloaded and prepared.

    Raises:
      Unavailable: it is not there, cannot be had, or has no such split.
    """
    if not name:
        raise Unavailable("the card names no TFDS dataset")
    root = data_dir or _default_data_dir(name)
    folder = _prepared_folder(name, root)
    if not folder:
        if not fetch:
            raise Unavailable(f"{name} is not prepared in {root}", _build_command(name, root))
        fault = _download_and_prepare(name, root)
        folder = _prepared_folder(name, root)
        if fault or not folder:
            raise Unavailable(
                f"{name} is not prepared in {root}; {fault}", _build_command(name, root)
            )
    stamp = str(readers.stat(_info_file(folder)))
    sizes = _splits(folder, stamp)
    if raw_split not in sizes:
        raise Unavailable(f"{folder} has no split {raw_split!r} but {', '.join(sizes)}")
    read = functools.partial(_rows, folder, stamp, raw_split)
    return Origin(f"{folder} {raw_split}", stamp, read, sizes[raw_split])


@functools.lru_cache(maxsize=64)
def _splits(folder: str, stamp: str) -> Mapping[str, int]:
    """Split -> bytes of a prepared dataset. Needs no TFDS, so that looking is quick."""
    (info,) = readers.read(_info_file(folder))
    return {split["name"]: int(split.get("numBytes", 0)) for split in info.get("splits", ())}


@functools.lru_cache(maxsize=64)
def _builder(folder: str, stamp: str) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _rows(folder: str, stamp: str, raw_split: str) -> Iterator[Row]:
    import tensorflow_datasets as tfds

    builder = _builder(folder, stamp)
    # One shard after the other: slices mean the same rows every time.
    in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=raw_split, shuffle_files=False, read_config=in_order)
    return (_plain(row) for row in tfds.as_numpy(dataset))


def _plain(value: Any) -> Any:
    """TFDS's NumPy values as Python's: text for bytes, lists for arrays and ragged tensors."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if hasattr(value, "to_list"):
        value = value.to_list()
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _default_data_dir(name: str) -> str:
    if "seqio" in sys.modules:  # honours the trainer's --tfds_data_dir
        override = sys.modules["seqio"].LazyTfdsLoader(name).data_dir
        if override:
            return override
    return os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def _info_file(folder: str) -> str:
    return os.path.join(folder, "dataset_info.json")


def _prepared_folder(name: str, root: str) -> str:
    """The folder of a prepared dataset; empty if there is none. Needs no TFDS."""
    path, _, version = name.partition(":")
    folder = os.path.join(root, path, version)
    if readers.stat(_info_file(folder)):
        return folder
    # A name without a config stands for the only config prepared.
    folders = [
        each
        for each in pathlib.Path(root, path).glob(f"*/{version}")
        if readers.stat(_info_file(str(each)))
    ]
    return str(folders[0]) if len(folders) == 1 and "/" not in path else ""


def _build_command(name: str, root: str) -> str:
    return f"run: tfds build {name} --data_dir {root}   (or copy it there from another machine)"


@functools.cache  # once a process: without a network every try takes long
def _download_and_prepare(name: str, root: str) -> str:
    """Has TFDS prepare a dataset; returns what went wrong, empty if nothing."""
    import tensorflow_datasets as tfds

    try:
        tfds.builder(name, data_dir=root).download_and_prepare()
    except Exception as error:  # TFDS and what it calls raise of all kinds
        reason = str(error).strip().partition("\n")[0]
        return f"TFDS cannot prepare it: {type(error).__name__}: {reason}"
    return ""
