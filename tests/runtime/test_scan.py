"""Scanned layers compute what layers side by side compute, whatever is rematerialized."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util
from jax.sharding import PartitionSpec
from launching import Launcher, train_bindings

from t5x import adafactor, checkpoints, data, models
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules
from t5x.trainer import Trainer

PARAMETERS = {"small": 76_961_152, "xxl": 11_135_332_352}


def stacked(params):
    """The parameters `encoder/layers_<i>/...` as `encoder/layers/...` with a first axis."""
    flat = traverse_util.flatten_dict(params)
    found: dict = {}
    for (side, *path), leaf in flat.items():
        if path[0].startswith("layers_"):
            found.setdefault((side, "layers", *path[1:]), []).append(leaf)
        else:
            found[side, *path] = leaf
    return traverse_util.unflatten_dict(
        {path: np.stack(x) if isinstance(x, list) else x for path, x in found.items()}
    )


def model_of(config, **changes):
    rules = adafactor.standard_logical_factor_rules()
    return models.EncoderDecoderModel(
        network.Transformer(config.replace(**changes)),
        None,
        None,
        # Small enough that every kernel is factored.
        adafactor.Adafactor(logical_factor_rules=rules, min_dim_size_to_factor=16),
        z_loss=1e-4,
    )


def trainer_of(model, batch, devices=1, partitions=1, **rules):
    partitioner = PjitPartitioner(
        partitions,
        logical_axis_rules=standard_logical_axis_rules(**rules),
        devices=jax.devices()[:devices],
    )
    trainer = Trainer(
        model,
        partitioner,
        jax.random.key(0),
        {name: x.shape for name, x in batch.items()},
        learning_rate_fn=lambda step: jnp.float32(0.01),
    )
    return trainer, data.to_devices(batch, partitioner.batch_sharding, 8)


def assert_close(tree, other, tolerance=1e-6):
    def check(path, x, y):
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=str(path))

    jax.tree_util.tree_map_with_path(check, tree, other)


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.replace(dropout_rate=0.0)


@pytest.fixture(scope="module")
def side_by_side(config, tiny_batch):
    """The trainer of the model with layers side by side, and its batch."""
    return trainer_of(model_of(config), tiny_batch)


@pytest.fixture(scope="module")
def params(tiny_params):
    """Initial parameters of that model."""
    return jax.device_get(tiny_params)


@pytest.fixture(scope="module")
def two_steps(side_by_side, params):
    """Parameters and sums after two steps with layers side by side."""
    return take_two_steps(*side_by_side, params)


@pytest.fixture(scope="module")
def scanned(config, tiny_batch):
    return trainer_of(model_of(config, scan_layers=True), tiny_batch)


def state_with(trainer, params):
    """The initial state with these parameters; an optimizer that remembers nothing is all zeros."""
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), trainer.abstract_state)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, trainer.abstract_state)
    return jax.device_put(zeros.replace(params=params), shardings)


def take_two_steps(trainer, batch, params):
    state = state_with(trainer, params)
    state, _ = trainer.train_step(state, batch)
    return jax.device_get(trainer.train_step(state, batch))


def test_training_is_the_same(scanned, params, two_steps):
    """Losses, norms and parameters: the optimizer treats each layer of a stack as if alone."""
    before = stacked(params)
    state, sums = take_two_steps(*scanned, before)
    assert_close(sums, two_steps[1])
    assert_close(state.params, stacked(two_steps[0].params))
    name = ("encoder", "layers", "mlp", "wo", "kernel")
    moves = kernel_of(state.params, *name) - kernel_of(before, *name)
    assert np.all(np.max(np.abs(moves), axis=(1, 2)) > 1e-4)


def kernel_of(params, *path):
    return traverse_util.flatten_dict(params)[path]


def test_training_is_the_same_on_a_mesh(config, tiny_batch, params, two_steps):
    trainer, batch = trainer_of(
        model_of(config, scan_layers=True, remat_policy="full"),
        tiny_batch,
        devices=4,
        partitions=2,
        parameter_partitioning_dims=2,
    )
    kernel = trainer.abstract_state.params["decoder"]["layers"]["mlp"]["wi_0"]["kernel"]
    assert kernel.sharding.spec == PartitionSpec(None, "data", "model")
    state, sums = take_two_steps(trainer, batch, stacked(params))
    assert_close(sums, two_steps[1], 1e-5)
    assert_close(state.params, stacked(two_steps[0].params), 1e-5)


def test_rematerialization_drops_the_same_again(config, tiny_batch, params):
    """What is computed again draws the dropout that was drawn at first."""

    def gradients(policy):
        dropping = config.replace(dropout_rate=0.3, scan_layers=True, remat_policy=policy)
        module = network.Transformer(dropping)

        def loss(encoder):
            features = module.apply(
                {"params": stacked(params) | {"encoder": encoder}},
                tiny_batch["encoder_input_tokens"],
                rngs={"dropout": jax.random.key(1)},
                method="encode",
            )
            return jnp.sum(jnp.sin(features))

        return jax.jit(jax.grad(loss))(stacked(params)["encoder"])

    assert_close(gradients("full"), gradients("none"), 2e-5)


@pytest.mark.parametrize("scan_layers", [False, True])
def test_rematerialization_keeps_less(config, tiny_batch, params, scan_layers):
    def kept(policy):
        model = model_of(config, scan_layers=scan_layers, remat_policy=policy)

        def backward(p):
            return jax.vjp(lambda p: model.loss_fn(p, tiny_batch, None)[0], p)[1]

        residuals = jax.eval_shape(backward, stacked(params) if scan_layers else params)
        return sum(leaf.size for leaf in jax.tree.leaves(residuals))

    assert kept("full") < 0.8 * kept("minimal") < 0.7 * kept("none")


def test_every_layer_drops_something_else(config, params):
    """Equal layers that dropped the same would map equal inputs to equal changes."""
    module = network.Transformer(config.replace(dropout_rate=0.5, scan_layers=True))
    masks = []

    def note(call, args, kwargs, context):
        output = call(*args, **kwargs)
        if isinstance(context.module, nn.Dropout) and "mlp" in context.module.path:
            jax.debug.callback(lambda x: masks.append(np.asarray(x) != 0), output, ordered=True)
        return output

    @jax.jit
    def encode(tokens):
        with nn.intercept_methods(note):
            rngs = {"dropout": jax.random.key(1)}
            return module.apply({"params": stacked(params)}, tokens, rngs=rngs, method="encode")

    encode(jnp.full((1, 8), 5))
    jax.effects_barrier()
    assert len(masks) == config.num_encoder_layers
    assert np.any(masks[0] != masks[1])


def test_decoding_is_the_same(config, tiny_batch, params):
    results = [
        jax.jit(
            lambda p, model=model: model.predict_batch_with_aux(
                p, tiny_batch, num_decodes=2, return_all_decodes=True
            )
        )(its_params)
        for model, its_params in (
            (model_of(config), params),
            (model_of(config, scan_layers=True), stacked(params)),
        )
    ]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert_close(results[0][1], results[1][1], 1e-5)


def test_the_program_of_xxl_is_as_large_as_that_of_small(config, tiny_batch):
    """T5 1.1's smallest and largest, 8 + 8 and 24 + 24 layers; nothing is allocated for them."""

    def program(**sizes):
        model = model_of(config, vocab_size=32128, head_dim=64, scan_layers=True, **sizes)
        trainer, placed = trainer_of(model, tiny_batch)
        batch = {
            name: jax.ShapeDtypeStruct((8, 512), jnp.int32, sharding=x.sharding)
            for name, x in placed.items()
        }
        return len(trainer.trace_step(batch).lower().as_text())

    small = program(
        emb_dim=512, num_heads=6, mlp_dim=1024, num_encoder_layers=8, num_decoder_layers=8
    )
    xxl = program(
        emb_dim=4096, num_heads=64, mlp_dim=10240, num_encoder_layers=24, num_decoder_layers=24
    )
    assert xxl < 1.1 * small


def test_checkpoints_of_the_other_layout_are_restored(tmp_path, scanned, side_by_side, params):
    trainer, other = scanned[0], side_by_side[0]
    state = state_with(trainer, stacked(params))
    for number, (first, second) in enumerate([(trainer, other), (other, trainer)]):
        writer = checkpoints.CheckpointWriter(tmp_path / str(number))
        writer.save(3, state)
        writer.close()
        path = checkpoints.path_of(tmp_path / str(number), 3)
        assert_close(
            jax.device_get(checkpoints.restore(path, first.abstract_state)), jax.device_get(state)
        )
        state = checkpoints.restore(path, second.abstract_state)
        if second is other:
            jax.tree.map(np.testing.assert_array_equal, state.params, params)


@pytest.mark.parametrize("size", ["small", "xxl"])
def test_gin_files_of_scanned_models(monkeypatch, capsys, tmp_path, size):
    """A file that imports T5X's scalable network may set it, whatever module ours is in."""
    (tmp_path / "own.gin").write_text(
        "from __gin__ import dynamic_registration\n"
        "from t5x.examples.scalable_t5 import network\n"
        f"include 't5x/examples/scalable_t5/t5_1_1/{size}.gin'\n"
        "network.T5Config.remat_policy = 'full'\n"
    )
    outcome = Launcher(monkeypatch, capsys).raw(
        "t5x.train",
        f"--gin_file={tmp_path / 'own.gin'}",
        "--gin_file=t5x/configs/runs/finetune.gin",
        *(f"--gin.{name}={value!r}" for name, value in train_bindings(tmp_path).items()),
        "--dry_run",
    )
    assert outcome.code == 0, outcome.err
    assert f"Parameters: {PARAMETERS[size]:,}" in outcome.out
    assert "T5Config.scan_layers = True" in outcome.out
    assert "T5Config.remat_policy = 'full'" in outcome.out
    assert "'minimal'" not in outcome.out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remat_policy": "some"}, "Use one of 'none', 'minimal', 'full'"),
        ({"scan_layers": True, "num_decoder_layers": 0}, "num_decoder_layers is 0"),
    ],
)
def test_choices_that_make_no_sense(tiny_config, changes, message):
    with pytest.raises(T5XError, match=message):
        tiny_config.replace(**changes)


def test_stacks_need_the_factoring_rules(config, tiny_batch):
    model = model_of(config, scan_layers=True)
    model.optimizer_def = adafactor.Adafactor()
    with pytest.raises(T5XError, match="standard_logical_factor_rules"):
        trainer_of(model, tiny_batch)
