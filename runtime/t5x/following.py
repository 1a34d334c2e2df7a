"""Which checkpoints are evaluated: those that are there, a range of them, or those to come.

A training run that is over says so in MODEL_DIR (`mark_end`): who follows it waits no longer.
"""

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import gin
import jax
from etils import epath

from t5x import checkpoints, checksums, processes
from t5x.errors import T5XError
from t5x.utils import DatasetConfig, RestoreCheckpointConfig

_END = "training_end.json"
# What says which checkpoints are evaluated and where the results go, not what comes out.
_SELECTION = re.compile(
    r"CHECKPOINT_PATH|EVAL_OUTPUT_DIR|.*RestoreCheckpointConfig\.(path|mode)"
    r"|.*\bevaluate\.(output_dir|first_step|last_step|follow|poll_seconds|patience_seconds)"
)
_STATEMENT = re.compile(r"^(\S+) = (.*(?:\n[ \t]+.*)*)", re.MULTILINE)


@dataclasses.dataclass
class Selection:
    """The checkpoints to evaluate, oldest first.

    Attributes:
        config: where they are; its mode is "all" for more than one.
        first_step: none of fewer steps; None for no limit.
        last_step: none of more steps; the last one to wait for.
        follow: whether to wait for those that a training run has yet to write.
        poll_seconds: how often to look for new ones.
        patience_seconds: how long to wait for the next one; None waits for ever.

    Raises:
        T5XError: these don't go together.
    """

    config: RestoreCheckpointConfig
    first_step: int | None = None
    last_step: int | None = None
    follow: bool = False
    poll_seconds: float = 10.0
    patience_seconds: float | None = None

    def __post_init__(self) -> None:
        ranged = self.first_step is not None or self.last_step is not None
        if (self.follow or ranged) and self.config.mode != "all":
            raise T5XError(
                f"mode '{self.config.mode}' stands for one checkpoint",
                where="RestoreCheckpointConfig.mode",
                remedy="Use 'all' to follow a run or evaluate a range of its checkpoints.",
            )
        if self.follow and not isinstance(self.config.path, str):
            raise T5XError(
                f"{self.config.path} is not one directory",
                where="RestoreCheckpointConfig.path",
                remedy="Give the MODEL_DIR of the run to follow.",
            )

    def paths(self) -> Iterator[epath.Path]:
        """The checkpoints, each once; waits for those to come.

        Raises:
            T5XError: there is none.
        """
        if self.follow:
            yield from self._to_come(epath.Path(str(self.config.path)))
            return
        paths = self.config.checkpoint_paths(required=True)
        if self.config.mode == "all":
            paths = [path for path in paths if self._is_in_range(_step_in_name(path))]
        if not paths:
            raise T5XError(
                f"no checkpoint lies between steps {self.first_step} and {self.last_step}",
                where=f"{self.config.path}",
                remedy="Widen evaluate.first_step and evaluate.last_step.",
            )
        yield from paths

    def _to_come(self, directory: epath.Path) -> Iterator[epath.Path]:
        seen, since = -1, time.monotonic()
        while True:
            over = (directory / _END).exists()  # asked first: no checkpoint comes after it
            new = [step for step in checkpoints.steps(directory) if step > seen]
            new = [step for step in new if self._is_in_range(step)]
            patient = self.patience_seconds is None or (
                time.monotonic() - since < self.patience_seconds
            )
            step = processes.of_first(new[0] if new else -1)
            if step >= 0:
                yield checkpoints.path_of(directory, step)
                seen, since = step, time.monotonic()
            elif processes.of_first(over or not patient):
                _tell("The training is over." if over else f"{directory}: no news; I wait no more.")
                return
            else:
                time.sleep(self.poll_seconds)
            if self.last_step is not None and seen >= self.last_step:
                return

    def _is_in_range(self, step: int) -> bool:
        first = -1 if self.first_step is None else self.first_step
        return first <= step and (self.last_step is None or step <= self.last_step)


class Evaluated:
    """Which checkpoints have been evaluated, and how, kept in the output directory.

    Args:
        directory: where `evaluated_checkpoints.jsonl` lies.
    """

    def __init__(self, directory: epath.PathLike) -> None:
        self._path = epath.Path(directory) / "evaluated_checkpoints.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        found = (Evaluation(**json.loads(line)) for line in lines)
        self._evaluations = {each.request: each for each in found}

    def __len__(self) -> int:
        return len(self._evaluations)

    def find(self, request: dict[str, Any]) -> "Evaluation | None":
        """What an evaluation of the same checkpoint gave that was asked for the same."""
        found = self._evaluations.get(_digest(request))
        return found if processes.of_first(found is not None) else None

    def add(self, request: dict[str, Any], step: int, metrics: dict[str, Any]) -> None:
        """Keeps an evaluation."""
        digest = _digest(request)
        self._evaluations[digest] = Evaluation(digest, step, metrics)
        if jax.process_index() == 0:
            lines = [json.dumps(dataclasses.asdict(x)) for x in self._evaluations.values()]
            partial = self._path.with_name(f".{self._path.name}")
            partial.write_text("".join(f"{line}\n" for line in lines))
            partial.replace(self._path)


@dataclasses.dataclass
class Evaluation:
    """What came out of evaluating one checkpoint.

    Attributes:
        request: a digest of what was asked for.
        step: the checkpoint's.
        metrics: by task.
    """

    request: str
    step: int
    metrics: dict[str, Any]


def request(
    path: epath.Path, restore: RestoreCheckpointConfig, config: DatasetConfig
) -> dict[str, Any]:
    """All that an evaluation's results depend on, as JSON values: checkpoint and configuration."""
    statements = _STATEMENT.findall(gin.config_str())
    return {
        "gin": [[name, value] for name, value in statements if not _SELECTION.fullmatch(name)],
        "checkpoint": _identity(path),
        "dtype": restore.dtype,
        "split": config.split,
        "task_feature_lengths": dict(config.task_feature_lengths or {}),
        "seed": config.seed,
    }


def has_vanished(path: epath.Path) -> bool:
    """Whether a checkpoint has been deleted, in full or in part; says so if it has."""
    gone = _step_in_name(path) not in checkpoints.steps(path.parent)
    if processes.of_first(gone):
        _tell(f"Skipped: {path} is gone. SaveCheckpointConfig.keep deletes all but the newest.")
        return True
    return False


def mark_end(model_dir: epath.PathLike, step: int) -> None:
    """Says in MODEL_DIR that a training run is over: no checkpoint will follow."""
    if jax.process_index() == 0:
        path = epath.Path(model_dir) / _END
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"step": step}))


def unmark_end(model_dir: epath.PathLike) -> None:
    """Says that a run goes on, if it was over."""
    if jax.process_index() == 0:
        (epath.Path(model_dir) / _END).unlink(missing_ok=True)


def _identity(path: epath.Path) -> dict[str, Any]:
    """What tells a checkpoint from all others: the checksums of its files, where it has them."""
    listed = path / checksums.FILE_NAME
    if listed.exists():
        return {"checksums": hashlib.sha256(listed.read_bytes()).hexdigest()}
    return {"path": str(path), "modified": path.stat().mtime}


def _step_in_name(path: epath.Path) -> int:
    return int(path.name.rpartition("_")[2])


def _digest(asked: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def _tell(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)
