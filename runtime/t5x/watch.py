"""Watches training for steps whose loss or gradient is not finite, and says what they were fed.

Nothing waits for a step to be computed: each is looked at when the device must be done with it.
"""

import collections
import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from t5x.checkpoint_items import process_name
from t5x.data import HostBatch
from t5x.errors import T5XError
from t5x.trainer import Sums, TrainState
from t5x.training_data import Taken, TrainingData

FOLDER = "not_finite"
# As far as a trainer lets the host run ahead; the sums of the step before these are there.
_STEPS_UNSEEN = 3
_SIDES = {
    "inputs": ("encoder_input_tokens", "encoder_segment_ids"),
    "targets": ("decoder_target_tokens", "decoder_segment_ids"),
}


@dataclasses.dataclass
class _Step:
    number: int
    sums: Sums
    taken: Taken


class Watch:
    """Raises when too many steps in a row, or the state, are not finite.

    What a bad step was fed is written below `model_dir/not_finite/step_<number>`, by each process
    its own rows: `<process>.npz` has the batch's features, `<process>.json` tells which examples
    they are, as far as the data can say, and what they read.

    Args:
        model_dir: see above.
        batches: where the batches come from.
        model: has the vocabularies, or None for them, which leaves the texts out.
        max_skipped_steps: how many bad steps in a row to put up with; their sums say `skipped`.
    """

    def __init__(
        self,
        model_dir: epath.PathLike,
        batches: TrainingData,
        model: Any,
        max_skipped_steps: int,
    ) -> None:
        self._folder = epath.Path(model_dir) / FOLDER
        self._batches = batches
        self._vocabularies = {
            "inputs": model.input_vocabulary,
            "targets": model.output_vocabulary,
        }
        self._allowed = max_skipped_steps
        self._in_a_row = 0
        self._unseen: collections.deque[_Step] = collections.deque()

    def add(self, number: int, sums: Sums, taken: Taken) -> None:
        """Takes a step that may still be computing, and looks at one that no longer can be.

        Raises:
            T5XError: see `settle`.
        """
        self._unseen.append(_Step(number, sums, taken))
        if len(self._unseen) > _STEPS_UNSEEN:
            self._look_at(self._unseen.popleft())

    def settle(self) -> None:
        """Waits for all steps, and looks at them.

        Raises:
            T5XError: one more was not finite than may be.
        """
        while self._unseen:
            self._look_at(self._unseen.popleft())

    def check(self, step: int, state: TrainState) -> None:
        """Like `settle`, for all numbers of the state after a step: what is saved must be finite.

        Raises:
            T5XError: one is not.
        """
        self.settle()
        if not _all_finite(state):
            raise T5XError(
                f"the parameters or the optimizer are not finite after step {step:,}, though its "
                "loss is",
                where=str(self._folder.parent),
                remedy="Nothing of it was saved. Go on from an earlier checkpoint with a lower "
                "learning rate.",
            )

    def _look_at(self, step: _Step) -> None:
        loss, norm, skipped = jax.device_get(
            [step.sums["loss"], step.sums["gradient_norm"], step.sums.get("skipped", 0.0)]
        )
        if math.isfinite(loss) and math.isfinite(norm) and not skipped:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        folder = self._folder / f"step_{step.number}"
        self._write_down(folder, step, {} if skipped else {"loss": loss, "gradient_norm": norm})
        if self._in_a_row > self._allowed:
            which = "loss or gradient" if skipped else "gradient" if math.isfinite(loss) else "loss"
            raise self._error(step.number, which, folder)

    def _error(self, number: int, which: str, folder: epath.Path) -> T5XError:
        row = f", after {self._allowed} steps like it that were skipped" if self._allowed else ""
        return T5XError(
            f"the {which} of step {number:,} is not finite{row}",
            where=str(folder),
            remedy="Look there for the examples of the batch. Nothing was saved since: the same "
            "command goes on from the last checkpoint, perhaps with a lower learning rate, or with "
            "trainer.Trainer.max_skipped_steps to leave such steps out.",
        )

    def _write_down(self, folder: epath.Path, step: _Step, sums: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        report: dict[str, Any] = {"step": step.number}
        report |= {name: str(value) for name, value in sums.items()}
        try:
            report |= self._batches.provenance(step.taken)
        except Exception as error:  # What is known must not be lost for what can't be.
            report["provenance"] = f"unknown: {error}"
        report["texts"] = self._texts(step.taken.rows)
        named: dict[str, Any] = step.taken.rows
        with (folder / f"{process_name()}.npz").open("wb") as file:
            np.savez(file, **named)
        text = json.dumps(report, indent=1, ensure_ascii=False)
        (folder / f"{process_name()}.json").write_text(text)

    def _texts(self, rows: HostBatch) -> list[dict[str, list[str]]]:
        """Of each row the texts on both sides, of each example in the order in which they stand."""
        texts: list[dict[str, list[str]]] = [{} for _ in next(iter(rows.values()))]
        for side, (tokens, segments) in _SIDES.items():
            vocabulary = self._vocabularies[side]
            if vocabulary is None or tokens not in rows:
                continue
            marks = rows.get(segments, (rows[tokens] > 0).astype(np.int32))
            for text, row, mark in zip(texts, rows[tokens], marks, strict=True):
                examples = range(1, int(mark.max()) + 1)
                text[side] = [vocabulary.decode(row[mark == i].tolist()) for i in examples]
        return texts


@jax.jit
def _all_finite(state: TrainState) -> jax.Array:
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in floats]))
