"""What a dry run says a step needs is what it needs; nothing is allocated to find out."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from launching import RUNTIME, Launcher, train_bindings

from t5x import accelerators, adafactor, flops, hlo, step_report
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.models import EncoderDecoderModel
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules
from t5x.trainer import Trainer

GIB = 2**30


@pytest.fixture
def launch(monkeypatch, capsys):
    return Launcher(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("text", "devices", "name", "topology"),
    [
        ("v3-8", 8, "v3", "v3:2x2"),
        ("v3-128", 128, "v3", "v3:8x8"),
        ("v4-8", 4, "v4", "v4:2x2x1"),
        ("v4-64", 32, "v4", "v4:2x4x4"),
        ("v5p-128", 64, "v5p", "v5p:4x4x4"),
        ("v5p-256", 128, "v5p", "v5p:4x4x8"),
        ("v5e-8", 8, "v5e", "v5e:2x4"),
        ("v6e-256", 256, "v6e", "v6e:16x16"),
    ],
)
def test_slices_are_what_their_names_say(text, devices, name, topology):
    found = accelerators.parse(text)
    assert (found.devices, found.accelerator.name) == (devices, name)
    assert found.accelerator.topology(devices) == topology
    assert found.accelerator.slice_of(devices) == text


def test_a_number_is_of_no_special_kind():
    assert accelerators.parse("64") == accelerators.Slice(64)


@pytest.mark.parametrize("text", ["0", "-8", "v4", "v9-8", "8x8", "v4-7", ""])
def test_other_names_are_refused(text):
    with pytest.raises(T5XError, match=r"--mesh.*(Write --mesh=64|Write an even number)"):
        accelerators.parse(text)


def test_products_count_as_often_as_their_loop_turns():
    def function(x, weights):
        def turn(x, w):
            return jax.lax.cond(w[0, 0] > 0, lambda: x @ w, lambda: x), None

        return jax.lax.scan(turn, x, weights)[0] @ jnp.ones((5, 3))

    x, weights = jnp.ones((4, 5)), jnp.ones((7, 5, 5))
    once = 2 * 4 * 5 * 5
    assert flops.matmul_flops(jax.make_jaxpr(function)(x, weights)) == 7 * once + 2 * 4 * 5 * 3

    def loss(weights, layer):
        return jnp.sum(jnp.sin(jax.checkpoint(layer)(layer(x, weights[0]), weights[1])))

    gradient = jax.make_jaxpr(jax.grad(lambda w: loss(w, lambda x, w: jnp.sin(x @ w))))(weights)
    # Two products forward; one again; one back to x, and two back to weights.
    assert flops.matmul_flops(gradient) == (2 + 1 + 1 + 2) * once


def test_collectives_count_as_often_as_their_loop_turns():
    mesh = PjitPartitioner(2, devices=jax.devices()).mesh

    def function(x):
        halved = jax.lax.scan(lambda x, _: (jax.lax.psum(x, "model") / 2, None), x, length=5)[0]
        return jax.lax.all_gather(halved, "model", tiled=True)

    spec = PartitionSpec("model")
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=spec, out_specs=PartitionSpec(), check_vma=False
    )
    x = jax.ShapeDtypeStruct((6, 4), jnp.float32, sharding=NamedSharding(mesh, spec))
    assert hlo.traffic(jax.jit(mapped).lower(x).compile().as_text()) == {
        "all-gather": hlo.Traffic(1, 6 * 4 * 4),
        "all-reduce": hlo.Traffic(5, 5 * 3 * 4 * 4),
    }


ASYNCHRONOUS = """\
HloModule step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[]{:T(128)} add(%a, %b)
}

%inner (p: f32[2,8]) -> f32[8,8] {
  ROOT %ag = f32[8,8]{1,0:T(8,128)} all-gather(%p), replica_groups=[2,4]<=[8], dimensions={0}
}

%body (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %rs = bf16[4]{0:T(256)(128)(2,1)} reduce-scatter(%x), replica_groups=GROUPS, to_apply=%add
  %p = (bf16[4]{0}, bf16[4]{0}, u32[], u32[]) collective-permute-start(%rs)
  %q = bf16[4]{0} collective-permute-done(%p)
}

%condition (t: (s32[], f32[8])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %w = (s32[], /*index=1*/f32[8]{0}) while(%t), condition=%condition, body=%body, TURNS
  %s = ((f32[2,8]), f32[8,8], s32[]) async-start(%y), calls=%inner
  %d = f32[8,8]{1,0} async-done(%s), calls=%inner
  %g = (f32[2,8]{1,0}, f32[8,8]{1,0}) all-gather-start(%y), replica_groups={{0,1,2,3}}
  %r = (f32[8]{0}, bf16[8]{0}) all-reduce-start(%y, %z), to_apply=%add
}
"""


@pytest.mark.parametrize("turns", ["", 'backend_config={"known_trip_count":{"n":"3"}}'])
@pytest.mark.parametrize("groups", ["{{0,1},{2,3}}", "[4,2]<=[8]", "mesh['a'=2,'b'=4] {'a'}"])
def test_collectives_of_asynchronous_programs(turns, groups):
    """As the TPU's compiler writes them."""
    program = ASYNCHRONOUS.replace("TURNS", turns).replace("GROUPS", groups)
    assert hlo.traffic(program) == {
        "all-gather": hlo.Traffic(2, 2 * 8 * 8 * 4),
        "all-reduce": hlo.Traffic(1, 8 * 4 + 8 * 2),
        "collective-permute": hlo.Traffic(3, 3 * 4 * 2),
        "reduce-scatter": hlo.Traffic(3, 3 * 2 * 4 * 2),
    }


def test_the_step_needs_what_the_report_says(tiny_config, tiny_batch):
    rules = standard_logical_axis_rules(parameter_partitioning_dims=2)
    partitioner = PjitPartitioner(2, logical_axis_rules=rules, devices=jax.devices())
    shapes = {name: x.shape for name, x in tiny_batch.items()}
    module = network.Transformer(tiny_config.replace(scan_layers=True))
    rules = adafactor.standard_logical_factor_rules()
    model = EncoderDecoderModel(module, None, None, adafactor.Adafactor(logical_factor_rules=rules))
    key = jax.random.key(0)
    trainer = Trainer(model, partitioner, key, shapes, learning_rate_fn=jnp.float32)
    batch = {
        name: jax.ShapeDtypeStruct(shape, jnp.int32, sharding=partitioner.batch_sharding)
        for name, shape in shapes.items()
    }
    step = step_report.compile_step(trainer, batch)
    params = trainer.abstract_state.params
    held = [leaf.sharding.shard_shape(leaf.shape) for leaf in jax.tree.leaves(params)]
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, device=leaf.sharding), params)
    real = [leaf.addressable_shards[0].data for leaf in jax.tree.leaves(zeros)]
    assert [x.shape for x in real] == held
    assert step.memory.parameters == sum(x.nbytes for x in real)
    assert step.memory.batch == sum(x.nbytes for x in tiny_batch.values()) / 4
    assert step.memory.temporary > 0
    assert set(step.traffic) & {"all-gather", "all-reduce", "reduce-scatter"}
    # Without layers, dropout and attention: 6 FLOPs per weight of the projections and token.
    inputs, targets = shapes["encoder_input_tokens"], shapes["decoder_input_tokens"]
    kernels = {"encoder": 0, "decoder": 0}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path[-1].key == "kernel":
            kernels[path[0].key] += leaf.size
    products = 6 * (kernels["encoder"] * inputs[0] * inputs[1])
    products += 6 * (kernels["decoder"] * targets[0] * targets[1])
    assert products < 8 * step.flops < 2 * products


def test_dry_run_compiles_the_step(launch, tmp_path):
    outcome = launch("t5x.train", "--dry_run", "--mesh=8", **train_bindings(tmp_path / "run"))
    assert outcome.code == 0, outcome.err
    for words in (
        "per device of 8 (data 8 x model 1)",
        "activations and temporaries",
        "all-reduce",
    ):
        assert words in outcome.out
    assert "v4: fits" in outcome.out
    assert "not what a TPU or GPU would need" in outcome.out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("script", "flags", "code", "message"),
    [
        ("t5x.train", ["--mesh=8"], 2, "--mesh only tells --dry_run"),
        ("t5x.train", ["--dry_run", "--mesh=v1-8"], 1, "--mesh=v4-128"),
        ("t5x.train", ["--dry_run", "--mesh=16"], 1, "8 devices already"),
    ],
)
def test_what_cannot_be_compiled_for(launch, tmp_path, script, flags, code, message):
    outcome = launch(script, *flags, **train_bindings(tmp_path / "run"))
    assert (outcome.code, message in outcome.err) == (code, True), outcome.err


def test_any_number_of_devices_can_be_simulated():
    program = (
        "import jax; from t5x import accelerators, simulation;"
        "simulation.start(accelerators.parse('h100-24'));"
        "print(jax.device_count(), jax.default_backend())"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    out = subprocess.run(
        [sys.executable, "-c", program],
        env=environment | {"PYTHONPATH": RUNTIME},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.split() == ["24", "cpu"]


@pytest.mark.parametrize(("total", "verdict"), [(28, "fits, 88%"), (29, "does not fit, 91%")])
def test_a_device_is_not_filled_to_the_brim(total, verdict):
    memory = step_report.Memory(20 * GIB, GIB, GIB, (total - 23) * GIB, GIB)
    v4 = accelerators.ACCELERATORS["v4"]
    assert step_report._verdict(memory, v4) == f"v4: {verdict} of 32.00 GiB"
