"""Writes a checkpoint of this engine, which T5X restores too, a leaf at a time."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from t5x import checksums, layout
from t5x.weights.leaves import Leaf

# Orbax marks folders in buckets as finished by this file; with it, a copy in a bucket is one.
_FINISHED = "commit_success.txt"
# Bytes that are written together: each write costs some time, however small.
_TOGETHER = 1 << 28
# Bytes of an array that are compressed together: who needs a part of it reads these at least.
_CHUNK = 1 << 25


class _LeafHandler(ocp.type_handlers.NumpyHandler):
    """Reads and writes some leaves after the other, so that few are in memory at a time."""

    def __init__(self, written: Callable[[str], None]) -> None:
        super().__init__(deepcopy_host_arrays=False)
        self._written = written

    async def _background_serialize(
        self, values: Sequence[Any], infos: Sequence[Any], args: Sequence[Any] | None = None
    ) -> None:
        """What Orbax calls when the folders are there."""
        pending: list[tuple[np.ndarray, Any, Any]] = []
        for value, info, arg in zip(values, infos, args or [], strict=True):
            array = value.read(dtype=arg.dtype or value.dtype)
            pending.append((np.ascontiguousarray(array).reshape(value.shape), info, arg))
            if sum(array.nbytes for array, _, _ in pending) > _TOGETHER:
                await self._write(pending)
        await self._write(pending)

    async def _write(self, pending: list[tuple[np.ndarray, Any, Any]]) -> None:
        if pending:
            await super()._background_serialize(*map(list, zip(*pending, strict=True)))
        for _, info, _ in pending:
            self._written(info.name)
        pending.clear()


def write(
    folder: pathlib.Path,
    leaves: Mapping[str, Leaf],
    *,
    dtype: Any = None,
    written: Callable[[str], None] = lambda _: None,
) -> None:
    """Writes a checkpoint.

    Args:
        folder: where to; it doesn't exist yet.
        leaves: by name.
        dtype: of the parameters on disk, or None for that of each.
        written: called with the name of each leaf when it is on disk.
    """
    all_leaves = dict(leaves) | dict.fromkeys(layout.momentum_slots(leaves), _placeholder())
    registry = ocp.type_handlers.create_type_handler_registry(
        (Leaf, _LeafHandler(written)),
        (jax.Array, ocp.type_handlers.ArrayHandler()),  # Orbax warns where none is known.
    )
    handler = ocp.PyTreeCheckpointHandler(type_handler_registry=registry)
    wanted = jnp.dtype(dtype) if dtype is not None else None
    save_args = {
        name: ocp.SaveArgs(
            dtype=wanted if name.startswith("target/") else None, chunk_byte_size=_CHUNK
        )
        for name in all_leaves
    }
    path = epath.Path(folder)
    composite = ocp.CompositeCheckpointHandler(state=handler, report=ocp.JsonCheckpointHandler())
    with ocp.Checkpointer(composite) as checkpointer:
        checkpointer.save(
            path,
            ocp.args.Composite(
                state=ocp.args.PyTreeSave(_nested(all_leaves), save_args=_nested(save_args)),
                report=ocp.args.JsonSave({"unreported": []}),
            ),
        )
    (folder / _FINISHED).write_text("Written whole.\n")
    checksums.write(path, without=frozenset({"_CHECKPOINT_METADATA"}))


def _placeholder() -> Leaf:
    value = layout.PLACEHOLDER
    return Leaf(value.shape, value.dtype, lambda part, dtype: value[part].astype(dtype))


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(flat), sep="/")
