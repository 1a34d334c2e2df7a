"""One training step: the same whatever the mesh and the microbatches; determined by its step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from t5x import adafactor, data
from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules
from t5x.trainer import Trainer


def rate_of(step):
    return 0.01 * (1 + step).astype(jnp.float32)


def make_trainer(model, batch, *, devices=1, partitions=1, rules=None, seed=0, **kwargs):
    partitioner = PjitPartitioner(partitions, None, rules, jax.devices()[:devices])
    trainer = Trainer(
        model,
        partitioner,
        jax.random.key(seed),
        {name: x.shape for name, x in batch.items()},
        learning_rate_fn=rate_of,
        **kwargs,
    )
    return trainer, data.to_devices(batch, partitioner.batch_sharding, 8)


class WithoutDropout:
    """A model whose loss ignores the dropout key, so that slices may draw as they like."""

    def __init__(self, model):
        self.optimizer_def = model.optimizer_def
        self.initial_variables = model.initial_variables
        self._model = model

    def loss_fn(self, params, batch, dropout_rng):
        return self._model.loss_fn(params, batch, None)


def assert_close(tree, other, rtol=2e-4):
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=rtol, atol=2e-6)


class Dropping:
    """The smallest model with dropout: a vector, of which each loss sees another half."""

    def __init__(self, optimizer_def):
        self.optimizer_def = optimizer_def

    def initial_variables(self, rng, input_shapes):
        return {"params": {"vector": jax.random.normal(rng, (64,))}}

    def loss_fn(self, params, batch, dropout_rng):
        kept = jax.random.bernoulli(dropout_rng, 0.5, (64,))
        loss = jnp.sum(params["vector"] * kept)
        return loss, {"loss": loss, "weight": jnp.float32(1)}


@pytest.fixture(scope="module")
def trainer_and_batch(tiny_model, tiny_batch):
    """On one device, in one piece."""
    return make_trainer(WithoutDropout(tiny_model), tiny_batch)


@pytest.fixture(scope="module")
def reference(trainer_and_batch):
    """State and sums after one step."""
    trainer, batch = trainer_and_batch
    return jax.device_get(trainer.train_step(trainer.initial_state(), batch))


@pytest.mark.parametrize(
    ("devices", "partitions", "fully_sharded", "microbatches"),
    [(1, 1, False, 4), (8, 1, False, None), (8, 2, True, None), (4, 2, False, 2)],
)
def test_step_is_the_same_however_it_is_cut(
    tiny_model, tiny_batch, reference, devices, partitions, fully_sharded, microbatches
):
    rules = standard_logical_axis_rules(parameter_partitioning_dims=2 if fully_sharded else 1)
    trainer, batch = make_trainer(
        WithoutDropout(tiny_model),
        tiny_batch,
        devices=devices,
        partitions=partitions,
        rules=rules,
        num_microbatches=microbatches,
    )
    state, sums = trainer.train_step(trainer.initial_state(), batch)
    assert_close(state.params, reference[0].params)
    assert_close(sums, reference[1])
    kernel = state.params["encoder"]["layers_0"]["mlp"]["wi_0"]["kernel"]
    pieces = partitions * (devices // partitions if fully_sharded else 1)
    assert kernel.addressable_shards[0].data.size * pieces == kernel.size


def test_update_is_learning_rate_times_direction(trainer_and_batch, reference):
    """At step 1 the rate is twice that of step 0, so parameters move twice as far."""
    trainer, batch = trainer_and_batch
    initial = jax.device_get(trainer.initial_state())
    later, sums = trainer.train_step(trainer.initial_state().replace(step=jnp.int32(1)), batch)
    move = jax.tree.map(lambda x, y: np.asarray(y) - x, initial.params, reference[0].params)
    later_move = jax.tree.map(lambda x, y: np.asarray(y) - x, initial.params, later.params)
    assert_close(jax.tree.map(lambda x: 2 * x, move), later_move, rtol=1e-2)
    assert any(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(move))
    np.testing.assert_allclose([reference[1]["learning_rate"], sums["learning_rate"]], [0.01, 0.02])
    assert (reference[0].step, later.step) == (1, 2)


def test_dropout_depends_on_seed_and_step_alone(tiny_model, tiny_batch):
    losses = {}
    model = Dropping(tiny_model.optimizer_def)
    params = {"vector": np.arange(64.0, dtype=np.float32)}
    for seed in (0, 1):
        trainer, batch = make_trainer(model, tiny_batch, seed=seed)
        for step in (0, 5, 0):
            state = trainer.initial_state().replace(step=jnp.int32(step), params=params)
            loss = float(trainer.train_step(state, batch)[1]["loss"])
            assert losses.setdefault((seed, step), loss) == loss
    assert len(set(losses.values())) == 4


def test_every_microbatch_drops_something_else(tiny_model, tiny_batch):
    trainer, batch = make_trainer(
        Dropping(tiny_model.optimizer_def), tiny_batch, num_microbatches=2
    )
    before = jax.device_get(trainer.initial_state())
    after, _ = trainer.train_step(trainer.initial_state(), batch)
    moved = np.mean(np.asarray(after.params["vector"]) != before.params["vector"])
    assert 0.6 < moved < 0.9  # Either half alone would move 0.5; independent halves move 0.75.


def test_eval_step_equals_training_sums_without_dropout(trainer_and_batch, reference):
    trainer, batch = trainer_and_batch
    sums = trainer.eval_step(trainer.initial_state().params, batch)
    assert_close(sums, {name: reference[1][name] for name in sums})


def test_tokens_count_what_is_not_padding(tiny_batch, reference):
    counted = sum(
        np.count_nonzero(tiny_batch[name])
        for name in ("encoder_input_tokens", "decoder_target_tokens")
    )
    assert reference[1]["tokens"] == counted


def test_fresh_optimizer_equals_that_of_the_initial_state(trainer_and_batch):
    trainer, _ = trainer_and_batch
    initial = jax.device_get(trainer.initial_state())
    fresh = trainer.with_fresh_optimizer(trainer.initial_state().replace(optimizer=None))
    assert jax.tree.structure(fresh.optimizer) == jax.tree.structure(initial.optimizer)
    for x, y in zip(
        jax.tree.leaves(fresh.optimizer), jax.tree.leaves(initial.optimizer), strict=True
    ):
        np.testing.assert_array_equal(x, y)


class Sloping:
    """Its loss is the sum of parameters times the batch's numbers."""

    def __init__(self, **settings):
        rules = adafactor.standard_logical_factor_rules()
        self.optimizer_def = adafactor.Adafactor(logical_factor_rules=rules, **settings)

    def initial_variables(self, rng, input_shapes):
        stack = nn.LogicallyPartitioned(jnp.ones((3, 8)), ("layers", "embed"))
        return {"params": {"vector": jnp.ones(8), "stack": stack}}

    def loss_fn(self, params, batch, dropout_rng):
        params = nn.unbox(params)
        loss = jnp.sum(batch["x"] * (params["vector"] + params["stack"].sum(0)))
        return loss, {"loss": loss}


@pytest.mark.parametrize("offset", [0, 1000])
def test_a_fresh_optimizer_goes_by_the_step_of_the_state(offset):
    """Against T5X's rule, of a vector and of each in a stack alike: v averages from `step` on."""
    xs = np.random.default_rng(3).normal(0, [[3], [1], [2]], (3, 8)).astype(np.float32)
    model = Sloping(step_offset=offset, clipping_threshold=None, multiply_by_parameter_scale=False)
    trainer, _ = make_trainer(model, {"x": np.zeros((8, 1), np.int32)})
    state = trainer.with_fresh_optimizer(trainer.initial_state().replace(step=jnp.int32(1000)))
    expected, v = np.ones(8), np.zeros(8)
    for step, x in enumerate(xs.astype(np.float64), start=1000):
        keep = 1 - (step - offset + 1.0) ** -0.8
        v = keep * v + (1 - keep) * (x**2 + 1e-30)
        expected -= 0.01 * (1 + step) * x / np.sqrt(v)
        state, _ = trainer.train_step(state, {"x": jnp.asarray(xs[step - 1000])})
    found = jax.device_get(state.params)
    for parameter in (found["vector"], *found["stack"]):
        np.testing.assert_allclose(parameter, expected, rtol=1e-4)


def test_microbatches_add_up_in_float32(tiny_model):
    """In bfloat16, 256 + 1 + 1 + 1 is 256."""

    class Linear(Dropping):
        def initial_variables(self, rng, input_shapes):
            return {"params": {"vector": jnp.ones((1,), jnp.bfloat16)}}

        def loss_fn(self, params, batch, dropout_rng):
            loss = jnp.sum(params["vector"]) * jnp.sum(batch["encoder_input_tokens"])
            return loss.astype(jnp.float32), {}

    tokens = np.array([[256], [1], [1], [1], [0], [0], [0], [0]], np.int32)
    batch = {"encoder_input_tokens": tokens}
    trainer, batch = make_trainer(Linear(tiny_model.optimizer_def), batch, num_microbatches=4)
    _, sums = trainer.train_step(trainer.initial_state(), batch)
    assert float(sums["gradient_norm"]) == 259


@pytest.mark.parametrize(
    ("devices", "microbatches", "named"),
    [(1, 3, "one of 1, 2, 4, 8"), (8, 4, "8 data shards.*one of 1, or")],
)
def test_batches_that_do_not_divide_are_refused(
    tiny_model, tiny_batch, devices, microbatches, named
):
    with pytest.raises(T5XError, match=named):
        make_trainer(tiny_model, tiny_batch, devices=devices, num_microbatches=microbatches)
