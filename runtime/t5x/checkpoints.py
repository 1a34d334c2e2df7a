"""Checkpoints on disk: `MODEL_DIR/checkpoint_<step>`, through Orbax.

Each holds `state` (step, parameters, optimizer, named as in `t5x.layout`), `report` (what metrics
have not yet told of) and, where asked for, `data` (the position in the training data, one set of
files per process). A checkpoint appears under its final name only when all of it is written,
checksums of its files last.

As states are laid out as T5X lays them out, T5X restores these checkpoints, and here its own are
restored: those that it writes through Orbax, and those of `t5x.legacy_checkpoints`.
"""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath
from flax import traverse_util
from jax.experimental import multihost_utils

from t5x import checksums, layout, legacy_checkpoints
from t5x.checkpoint_items import Position, PositionRestore, PositionSave, StateHandler, process_name
from t5x.errors import T5XError
from t5x.trainer import TrainState

_PREFIX = "checkpoint"
_MISMATCHES_SHOWN = 5

AbstractLeaves = dict[str, jax.ShapeDtypeStruct]


class DamagedCheckpointError(T5XError):
    """Not all of a checkpoint's files are there, or not as they were written."""


def steps(directory: epath.PathLike) -> list[int]:
    """Steps of the finished checkpoints in a directory, oldest first; none if it doesn't exist."""
    directory = epath.Path(directory)
    if not directory.exists():
        return []
    found = ((path, re.fullmatch(rf"{_PREFIX}_(\d+)", path.name)) for path in directory.iterdir())
    return sorted(int(match[1]) for path, match in found if match and _is_finished(path))


def path_of(directory: epath.PathLike, step: int) -> epath.Path:
    """Where the checkpoint of a step lies."""
    return epath.Path(directory) / f"{_PREFIX}_{step}"


def step_of(path: epath.PathLike) -> int:
    """The number of steps that the state in a checkpoint has taken, whatever its directory's name.

    Raises:
        T5XError: it is no finished checkpoint.
    """
    path = epath.Path(path).absolute()
    _check_is_checkpoint(path)
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    step = {"state/step": jax.ShapeDtypeStruct((), jnp.int32, sharding=here)}
    return int(_read(path, step)["state/step"])


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
        self._directory = epath.Path(directory).absolute()
        self._dtype = dtype
        self._is_writing = False
        state_handler = StateHandler()
        handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
        handlers.add("state", ocp.args.PyTreeSave, state_handler)
        # Leftovers of a run that was killed while writing have no other reader: clear them away.
        self._manager = ocp.CheckpointManager(
            self._directory,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep,
                step_prefix=_PREFIX,
                cleanup_tmp_directories=True,
                async_options=ocp.options.AsyncOptions(
                    post_finalization_callback=state_handler.list_checkpoint
                ),
            ),
            handler_registry=handlers,
        )

    def save(
        self,
        step: int,
        state: TrainState,
        data: Position | None = None,
        unreported: Sequence[Mapping[str, float]] = (),
    ) -> None:
        """Copies the state off the devices and returns; the writing goes on in the background.

        A step that is there already is left as it is.

        Args:
            step: how many steps the state has taken.
            state: what is saved.
            data: the position in the training data, which is saved along.
            unreported: the sums of the steps since metrics were last reported, likewise.

        Raises:
            Exception: the checkpoint before this one could not be written.
        """
        if step in self._manager.all_steps():
            return
        leaves = layout.flatten(state)
        leaves |= dict.fromkeys(layout.momentum_slots(leaves), layout.PLACEHOLDER)
        items: dict[str, Any] = {
            "state": ocp.args.PyTreeSave(_nested(leaves), save_args=self._save_args(leaves)),
            "report": ocp.args.JsonSave({"unreported": list(unreported)}),
        }
        if data is not None:
            items["data"] = PositionSave(data)
        with self._clearing_up():
            self._manager.save(step, args=ocp.args.Composite(**items))
            self._is_writing = True

    def check(self) -> None:
        """Raises what has gone wrong in the background, if something has; doesn't wait."""
        # Orbax's own check would take the error away from the thread that has yet to see it, and
        # that would then delete the checkpoints that the failed one was to replace.
        if self._is_writing and not self._manager.is_saving_in_progress():
            self._is_writing = False
            with self._clearing_up():
                self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is written."""
        with self._clearing_up():
            self._manager.close()

    @contextlib.contextmanager
    def _clearing_up(self) -> Iterator[None]:
        """Within it, an error leaves no checkpoint behind that is written in part."""
        try:
            yield
        except BaseException:
            if jax.process_index() == 0:
                for path in self._directory.glob(f"{_PREFIX}_*{ocp.utils.TMP_DIR_SUFFIX}*"):
                    path.rmtree(missing_ok=True)
            raise

    def _save_args(self, leaves: dict[str, Any]) -> Any:
        dtype = jnp.dtype(self._dtype) if self._dtype is not None else None
        return _nested(
            {
                name: ocp.SaveArgs(dtype=dtype if name.startswith("target/") else None)
                for name in leaves
            }
        )


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
        path: a `checkpoint_<step>` directory, of this engine or of T5X.
        abstract_state: `jax.ShapeDtypeStruct` leaves with shardings: what the model expects.
        optimizer: whether to read the optimizer's state; without it, `optimizer` is None.
        dtype: dtype of the restored parameters, or None for that of the checkpoint.
        scratch: makes a fresh state, from which parameters are taken that the checkpoint lacks;
            without it, a lacking parameter is an error. A fresh optimizer goes with it.

    Raises:
        DamagedCheckpointError: its files are not what was written.
        T5XError: no such checkpoint, or one of another model; nothing has been read then.
    """
    path = epath.Path(path).absolute()
    check(path)
    found = _describe(path)
    wanted = layout.flatten(abstract_state)
    missing = {name for name in wanted if name.startswith("target/") and name not in found}
    fill_in = scratch is not None and bool(missing)
    if fill_in or not optimizer:
        abstract_state = TrainState(abstract_state.step, abstract_state.params, None)
        wanted = layout.flatten(abstract_state)
    lacking = {name: wanted[name].shape for name in layout.counts(wanted) - found.keys()}
    wanted = {
        name: _retyped(name, leaf, found, dtype)
        for name, leaf in wanted.items()
        if name not in lacking and not (fill_in and name in missing)
    }
    _check_same_model(path, wanted, found, with_optimizer=abstract_state.optimizer is not None)

    leaves = _read(path, wanted)
    if fill_in:
        assert scratch is not None
        fresh = scratch()
        return layout.unflatten(layout.flatten(fresh) | leaves, like=fresh)
    for name, shape in lacking.items():
        # A copy, because a training step gives the memory of every leaf away.
        leaves[name] = jnp.copy(jnp.broadcast_to(leaves["state/step"], shape))
    return layout.unflatten(leaves, like=abstract_state)


def check(path: epath.PathLike) -> None:
    """Reads all files of a checkpoint, if it lists them; the processes of a run share them.

    Raises:
        DamagedCheckpointError: they are not what was written.
        T5XError: there is no checkpoint.
    """
    path = epath.Path(path).absolute()
    _check_is_checkpoint(path)
    damage = checksums.damage(path) if (path / checksums.FILE_NAME).exists() else None
    if damage:
        raise DamagedCheckpointError(
            f"this checkpoint is damaged: {damage}",
            where=str(path),
            remedy="Use another checkpoint of the run.",
        )


def set_aside(path: epath.PathLike) -> epath.Path:
    """Renames a damaged checkpoint, so that its step can be saved again; gives the new path."""
    path = epath.Path(path)
    numbered = (path.with_name(f"{path.name}.damaged-{i}") for i in itertools.count(1))
    aside = next(candidate for candidate in numbered if not candidate.exists())
    _wait_for_all("all have found the name")
    if jax.process_index() == 0:
        path.rename(aside)
    _wait_for_all("it is renamed")
    return aside


def unreported(path: epath.PathLike) -> list[dict[str, float]]:
    """The sums that `CheckpointWriter.save` was given with a checkpoint; none if T5X wrote it."""
    path = epath.Path(path).absolute()
    if not (path / "report").exists():
        return []
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        report = reader.restore(path, args=ocp.args.Composite(report=ocp.args.JsonRestore()))
    return report["report"]["unreported"]


def restore_position(path: epath.PathLike, data: Position) -> bool:
    """Sends the training data to where it was; False if the checkpoint doesn't say where.

    Raises:
        T5XError: it was written by another number of processes.
    """
    path = epath.Path(path).absolute()
    folder = path / "data"
    if not folder.exists():
        return False
    if not any(file.name.startswith(process_name()) for file in folder.iterdir()):
        raise T5XError(
            f"the data position was written by another number of processes than the present "
            f"{jax.process_count()}",
            where=str(folder),
            remedy="Resume with as many processes as the run had, or start in a new MODEL_DIR with "
            "this checkpoint as RestoreCheckpointConfig.path.",
        )
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        reader.restore(path, args=ocp.args.Composite(data=PositionRestore(data)))
    return True


def _nested(leaves: dict[str, Any]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(leaves, sep="/")


def _is_finished(path: epath.Path) -> bool:
    return legacy_checkpoints.is_one(path) or ocp.utils.is_checkpoint_finalized(path)


def _check_is_checkpoint(path: epath.Path) -> None:
    if not path.exists():
        near = [f"{_PREFIX}_{step}" for step in steps(path.parent)]
        raise T5XError(
            "there is no such checkpoint",
            where=str(path),
            remedy=f"The directory above it holds: {', '.join(near)}."
            if near
            else "Check the path; nothing like a checkpoint lies beside it either.",
        )
    if legacy_checkpoints.is_one(path):
        return
    if not (path / "state").exists() or not ocp.utils.is_checkpoint_finalized(path):
        below = [f"{_PREFIX}_{step}" for step in steps(path)]
        raise DamagedCheckpointError(
            "this is not a finished checkpoint",
            where=str(path),
            remedy=f"It holds checkpoints: name one ({below[-1]}), or set mode = 'latest'."
            if below
            else "Name a checkpoint_<step> directory that this engine or T5X wrote.",
        )


def _describe(path: epath.Path) -> AbstractLeaves:
    """Shape and dtype of every leaf of a checkpoint, by name."""
    if legacy_checkpoints.is_one(path):
        return legacy_checkpoints.describe(path)
    tree = ocp.PyTreeCheckpointHandler().metadata(path / "state").tree
    return {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for name, leaf in traverse_util.flatten_dict(tree, sep="/").items()
    }


def _read(path: epath.Path, wanted: AbstractLeaves) -> dict[str, jax.Array]:
    if legacy_checkpoints.is_one(path):
        return legacy_checkpoints.read(path, wanted)
    target = _nested(wanted)
    restore_args = ocp.checkpoint_utils.construct_restore_args(target)
    request = ocp.args.PyTreeRestore(target, restore_args=restore_args, partial_restore=True)
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        tree = reader.restore(path, args=ocp.args.Composite(state=request))["state"]
    return traverse_util.flatten_dict(tree, sep="/")


def _check_same_model(
    path: epath.Path, wanted: AbstractLeaves, found: AbstractLeaves, *, with_optimizer: bool
) -> None:
    """Refuses other shapes, and leaves too few or too many in the parts that are wanted."""
    placeholders = {
        name
        for name in layout.momentum_slots(wanted) & found.keys()
        if found[name].shape == layout.PLACEHOLDER.shape
    }
    parts = ("target/", "state/") if with_optimizer else ("target/",)
    names = {name for name in found if name.startswith(parts)} - placeholders | wanted.keys()
    differences = [
        _difference(name, wanted.get(name), found.get(name))
        for name in sorted(names, key=_parameters_first)
        if _shape(wanted.get(name)) != _shape(found.get(name))
    ]
    if not differences:
        return
    shown = "; ".join(differences[:_MISMATCHES_SHOWN])
    more = len(differences) - _MISMATCHES_SHOWN
    raise T5XError(
        f"this checkpoint is another model's: {shown}" + (f"; and {more} more" if more > 0 else ""),
        where=str(path),
        remedy=layout.stacking(wanted, found)
        or "Use the model and optimizer that wrote it, or another MODEL_DIR. An initial "
        "checkpoint needs no optimizer state with RestoreCheckpointConfig.strict = False, and new "
        "parameters are initialized with fallback_to_scratch = True.",
    )


def _parameters_first(name: str) -> tuple[bool, str]:
    return not name.startswith("target/"), name


def _shape(leaf: jax.ShapeDtypeStruct | None) -> tuple[int, ...] | None:
    return None if leaf is None else tuple(leaf.shape)


def _difference(
    name: str, expected: jax.ShapeDtypeStruct | None, found: jax.ShapeDtypeStruct | None
) -> str:
    if found is None:
        return f"{name} is not in it"
    if expected is None:
        return f"{name} is not in the model"
    return f"{name} is {list(found.shape)} there and {list(expected.shape)} in the model"


def _retyped(
    name: str, leaf: jax.ShapeDtypeStruct, found: AbstractLeaves, dtype: str | None
) -> jax.ShapeDtypeStruct:
    """The leaf as it shall be read: parameters have a dtype of their own, or the file's."""
    if not name.startswith("target/") or name not in found:
        return leaf
    return jax.ShapeDtypeStruct(
        leaf.shape, jnp.dtype(dtype or found[name].dtype), sharding=leaf.sharding
    )


def _wait_for_all(what: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
