"""Checkpoints in the format in which T5X's models were published; they are only read.

A folder holds a file `checkpoint`: MessagePack, as Flax writes it, of

    {"version": 3, "optimizer": {"target": …, "state": {"step": …, "param_states": …}}}

where each leaf is an array, or the TensorStore spec of one: a Zarr array in the subfolder that the
spec's `path` names. `t5x.layout` lists the names of the leaves.
"""

import concurrent.futures
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
import tensorstore as ts
from etils import epath
from flax import serialization, traverse_util

from t5x.errors import T5XError

_FILE = "checkpoint"
_READERS = 16

# Read already, or still on disk.
_Leaf: TypeAlias = np.ndarray | ts.TensorStore


def is_one(path: epath.PathLike) -> bool:
    """Whether this folder holds such a checkpoint."""
    return (epath.Path(path) / _FILE).is_file()


def describe(path: epath.PathLike) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of every leaf by name, such as `state/step`.

    Raises:
        T5XError: the checkpoint is damaged, or of a version before 3.
    """
    return {
        name: jax.ShapeDtypeStruct(leaf.shape, _dtype(leaf))
        for name, leaf in _open(epath.Path(path)).items()
    }


def read(path: epath.PathLike, wanted: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
    """Reads leaves straight into the shards of the devices, each process its own.

    Args:
        path: the checkpoint's folder.
        wanted: by name, with the dtypes and shardings to read them with; the shapes are those that
            `describe` gives.

    Raises:
        T5XError: see `describe`.
    """
    leaves = _open(epath.Path(path))
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        arrays = {
            name: readers.submit(_placed, leaves[name], target) for name, target in wanted.items()
        }
        return {name: array.result() for name, array in arrays.items()}


def _placed(leaf: _Leaf, target: jax.ShapeDtypeStruct) -> jax.Array:
    pieces: dict[str, np.ndarray] = {}

    def piece(index: Any) -> np.ndarray:
        # Devices that hold copies of one piece ask for it one after the other.
        if str(index) not in pieces:
            pieces[str(index)] = np.asarray(leaf[index]).astype(target.dtype, copy=False)
        return pieces[str(index)]

    return jax.make_array_from_callback(target.shape, target.sharding, piece)


def _open(path: epath.Path) -> dict[str, _Leaf]:
    """Every leaf by name; those in subfolders are not read yet."""
    tree = _contents(path)
    leaves = traverse_util.flatten_dict(tree, sep="/", is_leaf=lambda _, node: _is_spec(node))
    opening = {
        name: ts.open(_located(leaf, path), open=True, read=True)
        for name, leaf in leaves.items()
        if _is_spec(leaf)
    }
    opened: dict[str, _Leaf] = {
        name: np.asarray(leaf) for name, leaf in leaves.items() if name not in opening
    }
    for name, future in opening.items():
        try:
            opened[name] = future.result()
        except ValueError as error:
            raise _damaged(path, f"{name} can't be read: {error}") from error
        if opened[name].dtype == ts.uint16:
            raise _damaged(path, f"{name} is bfloat16 disguised as uint16, as in version 2")
    return opened


def _contents(path: epath.Path) -> dict[str, Any]:
    file = path / _FILE
    try:
        contents = serialization.msgpack_restore(file.read_bytes())
        version = contents["version"]
        tree = {part: contents["optimizer"][part] for part in ("target", "state")}
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(file, f"it is not T5X's MessagePack ({error!r})") from error
    if version < 3:
        raise _damaged(file, f"it has version {version}, and only 3 can be read")
    return tree


def _is_spec(node: Any) -> bool:
    return isinstance(node, dict) and {"driver", "kvstore"} <= set(node)


def _located(spec: Mapping[str, Any], path: epath.Path) -> dict[str, Any]:
    """The spec of an existing array, wherever its checkpoint was written first."""
    folder = spec["kvstore"].get("path") or spec["path"]
    place = (path / folder.strip("/")).as_posix() + "/"
    if place.startswith("gs://"):
        bucket, _, inside = place.removeprefix("gs://").partition("/")
        return {"driver": spec["driver"], "kvstore": _kvstore("gcs", inside) | {"bucket": bucket}}
    return {"driver": spec["driver"], "kvstore": _kvstore("file", place)}


def _kvstore(driver: str, path: str) -> dict[str, str]:
    return {"driver": driver, "path": path}


def _dtype(leaf: _Leaf) -> np.dtype:
    return leaf.dtype if isinstance(leaf, np.ndarray) else leaf.dtype.numpy_dtype


def _damaged(where: epath.Path, what: str) -> T5XError:
    return T5XError(
        what,
        where=str(where),
        remedy="Copy the checkpoint again, whole, or convert it with the T5X that wrote it.",
    )
