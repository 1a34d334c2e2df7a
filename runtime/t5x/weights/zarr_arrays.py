"""Zarr arrays of a checkpoint as leaves, through TensorStore."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorstore as ts

from t5x.errors import T5XError
from t5x.weights.leaves import Leaf, Part


def open_all(specs: Mapping[str, dict[str, Any]], where: str) -> dict[str, Leaf]:
    """Opens arrays by name, without reading them.

    Args:
        specs: TensorStore's specs by the leaf's name.
        where: the checkpoint, for errors.

    Raises:
        T5XError: an array is not there, or its description is damaged; names it.
    """
    context = ts.Context()
    opening = {
        name: ts.open(spec, open=True, read=True, context=context) for name, spec in specs.items()
    }
    return {name: _opened(name, specs[name], array, where) for name, array in opening.items()}


def _opened(name: str, spec: dict[str, Any], opening: Any, where: str) -> Leaf:
    place = _place(spec)
    try:
        array = opening.result()
    except (ValueError, OSError) as error:
        raise damaged(where, f"{name} can't be read from {place}: {_short(error)}") from error
    if array.dtype == ts.uint16:
        raise damaged(where, f"{name} is bfloat16 disguised as uint16, as in version 2")

    def read(part: Part, dtype: np.dtype) -> np.ndarray:
        try:
            found = array[part].read().result()
        except (ValueError, OSError) as error:
            raise damaged(where, f"{name} can't be read from {place}: {_short(error)}") from error
        return np.asarray(found).astype(dtype, copy=False)

    return Leaf(tuple(array.shape), np.dtype(array.dtype.numpy_dtype), read, place)


def damaged(where: str, what: str) -> T5XError:
    """The error of a checkpoint that is not whole."""
    return T5XError(
        what,
        where=where,
        remedy="Copy the checkpoint again, whole, or convert it with the T5X that wrote it.",
    )


def _place(spec: Mapping[str, Any]) -> str:
    kvstore = spec["kvstore"]
    base = kvstore.get("base")
    path = f"{_base(base)}{kvstore['path']}" if base else kvstore["path"]
    return f"gs://{kvstore['bucket']}/{path}" if "bucket" in kvstore else path


def _base(base: Any) -> str:
    return f"gs://{base['bucket']}/{base['path']}" if "bucket" in base else base["path"]


def _short(error: Exception) -> str:
    """The reason, without TensorStore's copy of the whole spec."""
    return str(error).split(" [tensorstore_spec=")[0].split(" [source locations=")[0][:400]
