"""Checkpoints on disk, through Orbax: `MODEL_DIR/checkpoint_<step>`.

Each holds three items: `state` (step, parameters, optimizer), `model` (name, shape and dtype of
every leaf of it, so that another model's checkpoint is recognized before anything is read) and,
where asked for, `data` (the position in the training data, one set of files per process). A
checkpoint appears under its final name only when all of it is written.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util

from t5x.errors import T5XError
from t5x.trainer import TrainState

_PREFIX = "checkpoint"
_MISMATCHES_SHOWN = 5

Leaves = dict[str, dict[str, Any]]


class Position(Protocol):
    """A place in a stream of training data that can be written down and found again."""

    def save(self, path: epath.Path) -> None:
        """Writes files whose names start with `path`."""

    def restore(self, path: epath.Path) -> None:
        """Goes to the place that `save(path)` wrote down."""


def steps(directory: epath.PathLike) -> list[int]:
    """Steps of the finished checkpoints in a directory, oldest first; none if it doesn't exist."""
    directory = epath.Path(directory)
    if not directory.exists():
        return []
    found = ((path, re.fullmatch(rf"{_PREFIX}_(\d+)", path.name)) for path in directory.iterdir())
    return sorted(
        int(match[1]) for path, match in found if match and ocp.utils.is_checkpoint_finalized(path)
    )


def path_of(directory: epath.PathLike, step: int) -> epath.Path:
    """Where the checkpoint of a step lies."""
    return epath.Path(directory) / f"{_PREFIX}_{step}"


def step_of(path: epath.PathLike) -> int:
    """The number of steps that the state in a checkpoint has taken, whatever its directory's name.

    Raises:
        T5XError: it is no finished checkpoint of this engine.
    """
    return _read_description(epath.Path(path).absolute())["step"]


class CheckpointWriter:
    """Writes the checkpoints of one run while it goes on.

    Args:
        directory: MODEL_DIR; made if missing.
        keep: how many of the newest to keep, or None for all.
        dtype: dtype of the parameters on disk ("float32", "bfloat16"), or None for as they are.
    """

    def __init__(
        self, directory: epath.PathLike, *, keep: int | None = None, dtype: str | None = None
    ) -> None:
        self._dtype = dtype
        # Leftovers of a run that was killed while writing have no other reader: clear them away.
        self._manager = ocp.CheckpointManager(
            epath.Path(directory).absolute(),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, step_prefix=_PREFIX, cleanup_tmp_directories=True
            ),
        )

    def save(self, step: int, state: TrainState, data: Position | None = None) -> None:
        """Copies the state off the devices and returns; the writing goes on in the background.

        A step that is there already is left as it is.
        """
        if step in self._manager.all_steps():
            return
        items: dict[str, Any] = {
            "state": ocp.args.PyTreeSave(_as_dict(state), save_args=self._save_args(state)),
            "model": ocp.args.JsonSave({"step": step, "leaves": describe(state)}),
        }
        if data is not None:
            items["data"] = _PositionSave(data)
        self._manager.save(step, args=ocp.args.Composite(**items))

    def close(self) -> None:
        """Waits until everything is written."""
        self._manager.close()

    def _save_args(self, state: TrainState) -> Any:
        as_is = jax.tree.map(lambda _: ocp.SaveArgs(), _as_dict(state))
        if self._dtype is not None:
            dtype = jnp.dtype(self._dtype)
            as_is["params"] = jax.tree.map(lambda _: ocp.SaveArgs(dtype=dtype), state.params)
        return as_is


def describe(state: TrainState) -> Leaves:
    """Shape and dtype of every leaf, by name: `{"params/decoder/...": {"shape": [8, 4], ...}}`."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(_as_dict(state))
    }


def restore(
    path: epath.PathLike,
    abstract_state: TrainState,
    *,
    optimizer: bool = True,
    dtype: str | None = "float32",
    scratch: Callable[[], TrainState] | None = None,
) -> TrainState:
    """Reads a checkpoint straight into the shards of the devices.

    Args:
        path: a `checkpoint_<step>` directory.
        abstract_state: `jax.ShapeDtypeStruct` leaves with shardings: what the model expects.
        optimizer: whether to read the optimizer's state; without it, `optimizer` is None.
        dtype: dtype of the restored parameters, or None for that of the checkpoint.
        scratch: makes a fresh state, from which parameters are taken that the checkpoint lacks;
            without it, a lacking parameter is an error. A fresh optimizer goes with it.

    Raises:
        T5XError: no such checkpoint, or one of another model; nothing has been read then.
    """
    path = epath.Path(path).absolute()
    found: Leaves = _read_description(path)["leaves"]
    expected = describe(abstract_state)
    missing = sorted(name for name in expected if name.startswith("params/") and name not in found)
    fill_in = scratch is not None and bool(missing)
    optimizer = optimizer and not fill_in
    parts = ("step", "params", "optimizer") if optimizer else ("step", "params")
    _check_same_model(path, expected, found, parts, set(missing) if fill_in else set())

    target = {part: getattr(abstract_state, part) for part in parts}
    target["params"] = _retyped(target["params"], found, dtype, without=missing if fill_in else ())
    restored = _read(path, target)
    if fill_in:
        assert scratch is not None
        fresh = scratch()
        params = _merged(fresh.params, restored["params"])
        return TrainState(step=restored["step"], params=params, optimizer=fresh.optimizer)
    return TrainState(restored["step"], restored["params"], restored.get("optimizer"))


def restore_position(path: epath.PathLike, data: Position) -> bool:
    """Sends the training data to where it was; False if the checkpoint doesn't say where.

    Raises:
        T5XError: it was written by another number of processes.
    """
    path = epath.Path(path).absolute()
    folder = path / "data"
    if not folder.exists():
        return False
    if not any(file.name.startswith(_process_name()) for file in folder.iterdir()):
        raise T5XError(
            f"the data position was written by another number of processes than the present "
            f"{jax.process_count()}",
            where=str(folder),
            remedy="Resume with as many processes as the run had, or start in a new MODEL_DIR with "
            "this checkpoint as RestoreCheckpointConfig.path.",
        )
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        reader.restore(path, args=ocp.args.Composite(data=_PositionRestore(data)))
    return True


def _as_dict(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "params": state.params, "optimizer": state.optimizer}


def _read(path: epath.Path, target: dict[str, Any]) -> dict[str, Any]:
    restore_args = ocp.checkpoint_utils.construct_restore_args(target)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        return reader.restore(
            path,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeRestore(
                    target, restore_args=restore_args, partial_restore=True
                )
            ),
        )["state"]


def _read_description(path: epath.Path) -> dict[str, Any]:
    if not path.exists():
        near = [f"{_PREFIX}_{step}" for step in steps(path.parent)]
        raise T5XError(
            "there is no such checkpoint",
            where=str(path),
            remedy=f"The directory above it holds: {', '.join(near)}."
            if near
            else "Check the path; nothing like a checkpoint lies beside it either.",
        )
    if not (path / "model").exists() or not ocp.utils.is_checkpoint_finalized(path):
        below = [f"{_PREFIX}_{step}" for step in steps(path)]
        raise T5XError(
            "this is not a finished checkpoint of this engine",
            where=str(path),
            remedy=f"It holds checkpoints: name one ({below[-1]}), or set mode = 'latest'."
            if below
            else "Name a checkpoint_<step> directory that this engine wrote.",
        )
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        return reader.restore(path, args=ocp.args.Composite(model=ocp.args.JsonRestore()))["model"]


def _check_same_model(
    path: epath.Path, expected: Leaves, found: Leaves, parts: Sequence[str], excused: set[str]
) -> None:
    def relevant(leaves: Leaves) -> set[str]:
        return {name for name in leaves if name.split("/")[0] in parts} - excused

    differences = [
        _difference(name, expected.get(name), found.get(name))
        for name in sorted(relevant(expected) | relevant(found), key=_parameters_first)
        if _shape(expected.get(name)) != _shape(found.get(name))
    ]
    if not differences:
        return
    shown = "; ".join(differences[:_MISMATCHES_SHOWN])
    more = len(differences) - _MISMATCHES_SHOWN
    raise T5XError(
        f"this checkpoint is another model's: {shown}" + (f"; and {more} more" if more > 0 else ""),
        where=str(path),
        remedy="Use the model and optimizer that wrote it, or another MODEL_DIR. An initial "
        "checkpoint needs no optimizer state with RestoreCheckpointConfig.strict = False, and new "
        "parameters are initialized with fallback_to_scratch = True.",
    )


def _parameters_first(name: str) -> tuple[bool, str]:
    return not name.startswith("params/"), name


def _shape(leaf: dict[str, Any] | None) -> list[int] | None:
    return leaf["shape"] if leaf else None


def _difference(name: str, expected: dict | None, found: dict | None) -> str:
    if found is None:
        return f"{name} is not in it"
    if expected is None:
        return f"{name} is not in the model"
    return f"{name} is {found['shape']} there and {expected['shape']} in the model"


def _retyped(params: Any, found: Leaves, dtype: str | None, without: Sequence[str]) -> Any:
    """The abstract parameters as they shall be read: with their dtype, less those to leave out."""
    flat = traverse_util.flatten_dict(params, sep="/")
    return traverse_util.unflatten_dict(
        {
            name: jax.ShapeDtypeStruct(
                leaf.shape,
                jnp.dtype(dtype or found[f"params/{name}"]["dtype"]),
                sharding=leaf.sharding,
            )
            for name, leaf in flat.items()
            if f"params/{name}" not in without
        },
        sep="/",
    )


def _merged(base: Any, over: Any) -> Any:
    flat = traverse_util.flatten_dict(base) | traverse_util.flatten_dict(over)
    return traverse_util.unflatten_dict(flat)


def _process_name() -> str:
    return f"process_{jax.process_index():05d}-of-{jax.process_count():05d}"


class _PositionHandler(ocp.CheckpointHandler):
    """Lets Orbax write a data position beside the arrays, as part of the same atomic checkpoint."""

    def save(self, directory: epath.Path, args: "_PositionSave") -> None:
        args.data.save(directory / _process_name())

    def restore(self, directory: epath.Path, args: "_PositionRestore") -> None:
        args.data.restore(directory / _process_name())


@ocp.args.register_with_handler(_PositionHandler, for_save=True)
@dataclasses.dataclass
class _PositionSave(ocp.args.CheckpointArgs):
    data: Position


@ocp.args.register_with_handler(_PositionHandler, for_restore=True)
@dataclasses.dataclass
class _PositionRestore(ocp.args.CheckpointArgs):
    data: Position
