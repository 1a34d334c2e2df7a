"""Training is the same on every mesh, and what a mesh is to spread is spread.

Real meshes of eight simulated devices, and the shapes of TPU slices, whose hosts hold rows that
aren't neighbours.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import adafactor, data, models
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules
from t5x.trainer import Trainer, TrainState

BATCH, LENGTH, STEPS = 8, 12, 3
# Devices, partitions, and the partitioning dimensions of activations and parameters.
MESHES = {
    "data": (8, 1, (1, 1)),
    "fully sharded": (8, 1, (1, 2)),
    "tensor": (4, 4, (1, 1)),
    "data, fully sharded, tensor": (8, 2, (1, 2)),
}


def packed_batch(seed):
    """Rows of two or three examples, with padding after them."""
    rng = np.random.default_rng(seed)
    segments = np.array([[1] * 5 + [2] * 4 + [0] * 3, [1] * 3 + [2] * 3 + [3] * 5 + [0]])
    segments = np.tile(segments, (BATCH // 2, 1))
    inputs, targets = rng.integers(3, 32, (2, BATCH, LENGTH)) * (segments > 0)
    starts = np.diff(segments, prepend=0, axis=1) != 0
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.where(starts, 0, np.roll(targets, 1, axis=1)),
        "decoder_loss_weights": targets > 0,
        "encoder_segment_ids": segments,
        "decoder_segment_ids": segments,
    }
    return {name: feature.astype(np.int32) for name, feature in batch.items()}


@pytest.fixture(scope="module")
def model(tiny_config):
    """A layer a side, with dropout; Adafactor factors its matrices, small as they are."""
    config = dataclasses.replace(tiny_config, num_encoder_layers=1, num_decoder_layers=1)
    optimizer = adafactor.Adafactor(min_dim_size_to_factor=16)
    return models.EncoderDecoderModel(network.Transformer(config), None, None, optimizer)


def make_trainer(model, devices, partitions, rules):
    rules = standard_logical_axis_rules(*rules)
    partitioner = PjitPartitioner(partitions, None, rules, jax.devices()[:devices])
    shapes = dict.fromkeys(packed_batch(0), (BATCH, LENGTH))
    trainer = Trainer(
        model,
        partitioner,
        jax.random.key(0),
        shapes,
        learning_rate_fn=lambda step: jnp.float32(0.03),
    )
    return partitioner, trainer


@dataclasses.dataclass
class Run:
    """A few steps of training on a mesh, and the programs that took them."""

    losses: np.ndarray  # per token, step by step
    initial_bytes: int  # of parameters and optimizer on the first device
    final: TrainState
    initialization: str  # the programs, compiled for one device of the mesh
    step: str


def run(model, mesh):
    partitioner, trainer = make_trainer(model, *mesh)
    batches = [
        data.to_devices(packed_batch(step % 2), partitioner.batch_sharding, BATCH)
        for step in range(STEPS)
    ]
    with partitioner.scope():
        initialize = trainer._init.lower(trainer._init_rng).compile()
        take_step = trainer._train.lower(trainer.abstract_state, batches[0]).compile()
    state = initialize(trainer._init_rng)
    initial_bytes = bytes_on_a_device(state)
    losses = []
    for batch in batches:
        state, sums = take_step(state, batch)
        losses.append(sums["loss"] / sums["weight"])
    return Run(np.array(losses), initial_bytes, state, initialize.as_text(), take_step.as_text())


def bytes_on_a_device(state):
    leaves = jax.tree.leaves((state.params, state.optimizer))
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)


@pytest.fixture(scope="module")
def on_one_device(model):
    return run(model, (1, 1, (1, 1)))


@pytest.fixture(scope="module", params=MESHES)
def mesh_and_run(request, model):
    return MESHES[request.param], run(model, MESHES[request.param])


def test_losses_with_dropout_equal_those_of_one_device(mesh_and_run, on_one_device):
    """Packed batches, Adafactor's state included: later losses come of earlier updates."""
    losses = mesh_and_run[1].losses
    np.testing.assert_allclose(losses, on_one_device.losses, rtol=1e-5)
    assert losses[2] < 0.99 * losses[0]  # the same batch again


def test_every_device_holds_its_share_from_the_start(mesh_and_run, on_one_device):
    """Of matrices its part exactly; the rest, which is small, may be everywhere."""
    (devices, partitions, rules), found = mesh_and_run
    parts = partitions * (devices // partitions if rules[1] == 2 else 1)
    for path, leaf in jax.tree_util.tree_leaves_with_path(found.final.params):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith(("kernel", "/embedding")):
            sizes = {shard.data.size for shard in leaf.addressable_shards}
            assert sizes == {leaf.size // parts}, name
    assert found.initial_bytes == bytes_on_a_device(found.final)
    assert found.initial_bytes <= on_one_device.initial_bytes * (1 / parts + 0.2 * (parts > 1))
    rows, columns = 16 * partitions // parts, 32 // partitions  # of an MLP's kernel
    assert f"f32[{rows},{columns}]" in found.initialization
    assert parts == 1 or "f32[16,32]" not in found.initialization


def test_only_what_must_travels_between_devices(mesh_and_run):
    """Gradients between data shards; parameters too where they are sharded fully."""
    (_, partitions, rules), found = mesh_and_run
    assert "all-reduce" in found.step
    if partitions == 1:
        assert ("all-gather" in found.step) == (rules[1] == 2)
        assert "collective-permute" not in found.step


@pytest.mark.parametrize(
    ("change", "partitions", "named"),
    [
        ({"num_heads": 6}, 4, 'rel_embedding.*"heads" of size 6.*num_partitions to 1 or 2,'),
        ({"mlp_dim": 28}, 8, r'wi_0.*"mlp" of size 28.*num_partitions to 1 or 2 or 4,'),
        ({"vocab_size": 33}, 2, 'kernel.*"vocab" of size 33.*num_partitions to 1,'),
        ({"emb_dim": 12}, 1, '"embed" of size 12.*num_partitions to 2 or 4 or 8,'),
    ],
)
def test_sizes_that_do_not_divide_are_refused_with_those_that_do(
    tiny_config, change, partitions, named
):
    config = dataclasses.replace(tiny_config, **{"num_heads": 8} | change)
    model = models.EncoderDecoderModel(
        network.Transformer(config), None, None, adafactor.Adafactor()
    )
    with pytest.raises(T5XError, match=named):
        make_trainer(model, 8, partitions, (1, 2))


@dataclasses.dataclass(frozen=True)
class Chip:
    """A TPU core, as far as meshes look at it."""

    id: int
    process_index: int
    coords: tuple[int, int, int]
    core_on_chip: int
    device_kind: str
    platform: str = "tpu"
    slice_index: int = 0


def tpu_slice(kind, shape, cores):
    """The cores of a slice, numbered host by host; a host has 2 x 2 chips."""
    hosts = {}
    places = []
    for z, y, x in itertools.product(*map(range, reversed(shape))):
        process = hosts.setdefault((x // 2, y // 2, z), len(hosts))
        places += [(process, (x, y, z), core) for core in range(cores)]
    return [
        Chip(i, process, coords, core, kind)
        for i, (process, coords, core) in enumerate(sorted(places))
    ]


SLICES = {
    "v3-32": ("TPU v3", (4, 4, 1), 2),
    "v4-32": ("TPU v4", (2, 2, 4), 1),
    "v5e-16": ("TPU v5 lite", (4, 4, 1), 1),
    "v5p-128": ("TPU v5p", (4, 4, 4), 1),
}


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("partitions", [1, 2, 4, 8, 16])
def test_hosts_of_a_tpu_slice_read_every_row_once(monkeypatch, name, partitions):
    """Each part of a batch once; and hosts put the rows of their part where evaluation does."""
    devices = tpu_slice(*SLICES[name])
    sharding = PjitPartitioner(partitions, devices=devices).batch_sharding
    assert sharding.mesh.shape["model"] == partitions
    rows_of_part = {}
    batch = {"row": np.arange(2 * len(devices))}
    for process in {device.process_index for device in devices}:
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        index, count = data.process_shard(sharding, len(batch["row"]))
        rows = data.local_rows(batch, sharding)["row"].tolist()
        assert len(rows) * count == len(batch["row"])
        assert rows_of_part.setdefault(index, rows) == rows
    assert sorted(itertools.chain(*rows_of_part.values())) == batch["row"].tolist()
    assert sorted(rows_of_part) == list(range(count))
