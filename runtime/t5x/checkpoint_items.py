"""The items of a checkpoint that Orbax has no handler for as they are wanted here."""

import dataclasses
from typing import Any, Protocol

import jax
import orbax.checkpoint as ocp
from etils import epath

from t5x import checksums

# Orbax adds the time to this file of its own when all else is written, and never needs it to read.
_WRITTEN_LATER = frozenset({"_CHECKPOINT_METADATA"})


class Position(Protocol):
    """A place in a stream of training data that can be written down and found again."""

    def save(self, path: epath.Path) -> None:
        """Writes files whose names start with `path`."""

    def restore(self, path: epath.Path) -> None:
        """Goes to the place that `save(path)` wrote down."""


def process_name() -> str:
    """What the names of this process's own files start with."""
    return f"process_{jax.process_index():05d}-of-{jax.process_count():05d}"


class StateHandler(ocp.PyTreeCheckpointHandler):
    """Orbax's handler of the arrays, adding checksums: each process lists its own arrays' files."""

    _checkpoint: epath.Path

    @classmethod
    def typestr(cls) -> str:
        """What reads it without knowing of this class."""
        return ocp.PyTreeCheckpointHandler.typestr()

    async def async_save(self, directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Adds to what has to be done until the arrays are on disk."""
        self._checkpoint = directory.parent
        own = directory / f"ocdbt.process_{jax.process_index()}"
        writing = await super().async_save(directory, *args, **kwargs) or []

        def list_own_files() -> None:
            if own.exists():  # A process that holds only copies of others' arrays writes none.
                checksums.write(own)

        return [ocp.future.ChainedFuture(writing, list_own_files)]

    def list_checkpoint(self) -> None:
        """The last thing before a checkpoint gets its name; in process 0 only."""
        checksums.write(self._checkpoint, without=_WRITTEN_LATER)


class _PositionHandler(ocp.CheckpointHandler):
    """Lets Orbax write a data position beside the arrays, as part of the same atomic checkpoint."""

    def save(self, directory: epath.Path, args: "PositionSave") -> None:
        args.data.save(directory / process_name())

    def restore(self, directory: epath.Path, args: "PositionRestore") -> None:
        args.data.restore(directory / process_name())


@ocp.args.register_with_handler(_PositionHandler, for_save=True)
@dataclasses.dataclass
class PositionSave(ocp.args.CheckpointArgs):
    """Asks for a position to be written."""

    data: Position


@ocp.args.register_with_handler(_PositionHandler, for_restore=True)
@dataclasses.dataclass
class PositionRestore(ocp.args.CheckpointArgs):
    """Asks for a position to be gone to."""

    data: Position
