"""Steps that are not finite: seen in time, written down, skipped only where that is asked for."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x import progress
from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner
from t5x.trainer import Trainer, TrainState
from t5x.training_data import Taken
from t5x.watch import Watch

GOOD = {"loss": 1.0, "gradient_norm": 1.0}
ROWS = Taken({"decoder_target_tokens": np.array([[5, 6, 0]])}, position=7)


class Unknown:
    """Data that can't tell where their rows come from."""

    def provenance(self, taken):
        raise RuntimeError(f"nothing at {taken.position}")


def watch(directory, allowed=0):
    return Watch(directory, Unknown(), Slope(), allowed)


@pytest.mark.parametrize(("name", "value"), [("loss", np.nan), ("gradient_norm", np.inf)])
def test_a_bad_step_is_named_a_few_steps_later_or_when_waited_for(tmp_path, name, value):
    def steps():
        for step in range(1, 9):
            sums = GOOD | ({name: value} if step == 3 else {})
            yield step, {key: jnp.float32(x) for key, x in sums.items()}, ROWS

    eager, lazy = watch(tmp_path / "eager"), watch(tmp_path / "lazy")
    message = f"{name.split('_')[0]} of step 3 is not finite"
    with pytest.raises(T5XError, match=message):
        for step in steps():
            eager.add(*step)
            last = step[0]
    assert last == 5
    with pytest.raises(T5XError, match=message):
        for step in steps():
            lazy.add(*step)
            lazy.settle()
            last = step[0]
    assert last == 2
    for directory in ("eager", "lazy"):
        folder = tmp_path / directory / "not_finite" / "step_3"
        found = json.loads((folder / "process_00000-of-00001.json").read_text())
        assert found[name] == str(value)
        assert found["provenance"] == "unknown: nothing at 7"
        with np.load(folder / "process_00000-of-00001.npz") as saved:
            np.testing.assert_array_equal(saved["decoder_target_tokens"], [[5, 6, 0]])


def test_so_many_in_a_row_may_be_skipped_and_no_more(tmp_path):
    patient = watch(tmp_path, allowed=2)
    for step in range(1, 20):
        skipped = jnp.float32(step % 3 != 0)
        patient.add(step, {name: jnp.float32(0) for name in GOOD} | {"skipped": skipped}, ROWS)
    patient.settle()
    for step in (20, 21):
        patient.add(step, GOOD | {"skipped": 1.0}, ROWS)
    with pytest.raises(T5XError, match="step 21 is not finite, after 2 steps like it"):
        patient.settle()


def test_a_state_that_is_not_finite_is_never_to_be_saved(tmp_path):
    state = TrainState(jnp.int32(4), {"w": jnp.ones((3, 2))}, {"m": jnp.ones(2)})
    watch(tmp_path).check(4, state)
    broken = state.replace(optimizer={"m": jnp.array([1, jnp.inf])})
    with pytest.raises(T5XError, match="not finite after step 4"):
        watch(tmp_path).check(4, broken)


class Adam:
    """The optimizer, as gin would configure it."""

    def transformation(self, params):
        return optax.scale_by_adam()


class Slope:
    """Its loss is the sum of parameters times the batch's numbers."""

    optimizer_def = Adam()
    input_vocabulary = output_vocabulary = None

    def initial_variables(self, rng, input_shapes):
        return {"params": {"w": jnp.ones(8)}}

    def loss_fn(self, params, batch, dropout_rng):
        loss = jnp.sum(params["w"] * batch["x"])
        return loss, {"loss": loss, "weight": jnp.float32(1), **dict.fromkeys(KEYS, loss)}


KEYS = ("cross_entropy", "z_loss", "correct")


def test_a_skipped_step_changes_the_step_count_alone_and_is_counted():
    trainer = Trainer(
        Slope(),
        PjitPartitioner(1, devices=jax.devices()[:1]),
        jax.random.key(0),
        {"x": (8,)},
        learning_rate_fn=lambda step: jnp.float32(0.1),
        max_skipped_steps=1,
    )
    meter = progress.TrainMeter()
    state = trainer.initial_state()
    for step, x in enumerate([1.0, np.nan, 1.0], start=1):
        before = jax.device_get(state)
        state, sums = trainer.train_step(state, {"x": jnp.full(8, x)})
        meter.add(sums)
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                jax.tree.leaves((before.params, before.optimizer)),
                jax.tree.leaves((state.params, state.optimizer)),
                strict=True,
            )
        ]
        assert all(same) if np.isnan(x) else not any(same)
        assert int(state.step) == step
    result = meter.result()
    assert result["skipped_steps"] == 1
    np.testing.assert_allclose(result["gradient_norm"], np.sqrt(8))
    np.testing.assert_allclose(result["loss"], (8 + 8 * 0.9) / 2, rtol=1e-2)
