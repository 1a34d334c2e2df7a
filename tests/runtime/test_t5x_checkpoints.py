"""Checkpoints of T5X's own are restored, optimizer included, in both of its formats.

The folders are written here as those formats are documented, without T5X.
"""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from bucket import serving
from flax import linen as nn
from flax import serialization, traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from published import nested, write_legacy, write_orbax

from t5x import adafactor, checkpoints, layout, utils
from t5x.errors import T5XError
from t5x.trainer import TrainState

STEP = 7
SLOTS = ("m", "v", "v_col", "v_row")
# Parameter -> its shape and those of its slots: one matrix is large enough to be factored.
SHAPES = {
    "decoder/logits_dense/kernel": ((128, 256), {"v_row": (128,), "v_col": (256,)}),
    "encoder/relpos_bias/rel_embedding": ((4, 32), {"v": (4, 32)}),
    "encoder/encoder_norm/scale": ((128,), {"v": (128,)}),
}


def sharding(*spec):
    return NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec(*spec))


@pytest.fixture(scope="module")
def leaves():
    """{name on disk: array} as T5X's Adafactor leaves them after seven steps."""
    rng = np.random.default_rng(0)
    made = {"state/step": np.int32(STEP)}
    for name, (shape, slots) in SHAPES.items():
        made[f"target/{name}"] = rng.normal(size=shape).astype(np.float32)
        for slot in SLOTS:
            value = rng.random(slots[slot]) if slot in slots else np.zeros(1)
            made[f"state/param_states/{name}/{slot}"] = value.astype(np.float32)
    return made


@pytest.fixture(scope="module")
def abstract_state():
    """What our trainer expects, with the first axis of the large matrix over eight devices."""
    params = nested({name: jnp.zeros(shape) for name, (shape, _) in SHAPES.items()})
    state = TrainState(jnp.int32(0), params, adafactor.Adafactor().transformation().init(params))
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=sharding("data") if x.shape == (128, 256) else sharding()
        ),
        state,
    )


@pytest.fixture(scope="module", params=[write_orbax, write_legacy], ids=["orbax", "legacy"])
def folder(request, tmp_path_factory, leaves):
    path = tmp_path_factory.mktemp("model") / f"checkpoint_{STEP}"
    request.param(path, leaves)
    return path


def assert_is(state, leaves):
    """The state has these parameters, slots and steps."""
    found = traverse_util.flatten_dict(state.params, sep="/")
    factored = state.optimizer[1]
    for name in SHAPES:
        np.testing.assert_array_equal(found[name], leaves[f"target/{name}"])
        for slot in ("v", "v_col", "v_row"):
            slots = traverse_util.flatten_dict(getattr(factored, slot), sep="/")
            np.testing.assert_array_equal(slots[name], leaves[f"state/param_states/{name}/{slot}"])
    assert int(state.step) == int(factored.count) == STEP


def test_parameters_optimizer_and_step_arrive_in_their_shards(folder, leaves, abstract_state):
    state = checkpoints.restore(folder, abstract_state)
    assert_is(state, leaves)
    for leaf, expected in zip(jax.tree.leaves(state), jax.tree.leaves(abstract_state), strict=True):
        assert leaf.sharding == expected.sharding
    # Nothing is shared: a step gives the memory of all leaves away at once.
    jax.jit(lambda s: jax.tree.map(jnp.negative, s), donate_argnums=0)(state)


def test_what_is_not_asked_for_is_not_read(folder, leaves, abstract_state):
    state = checkpoints.restore(folder, abstract_state, optimizer=False, dtype="bfloat16")
    assert state.optimizer is None
    kernel = state.params["decoder"]["logits_dense"]["kernel"]
    expected = leaves["target/decoder/logits_dense/kernel"].astype(jnp.bfloat16)
    np.testing.assert_array_equal(kernel, expected)
    assert kernel.dtype == jnp.bfloat16


def test_found_by_the_launchers(folder):
    assert checkpoints.steps(folder.parent) == [STEP]
    assert checkpoints.step_of(folder) == STEP
    config = utils.RestoreCheckpointConfig(path=str(folder.parent), mode="latest")
    assert str(config.one_path()) == str(folder)


def test_a_run_starts_from_a_bucket(folder, leaves, abstract_state, tmp_path, monkeypatch):
    there = tmp_path / "models" / "t5" / folder.name
    shutil.copytree(folder, there)
    is_orbax = (there / "state").exists()
    config = utils.RestoreCheckpointConfig(f"gs://models/t5/{folder.name}", mode="specific")
    with serving(tmp_path, monkeypatch):
        if is_orbax:
            (there / checkpoints.COMMIT_SUCCESS_FILE).unlink()
            with pytest.raises(T5XError, match="not a finished checkpoint"):
                checkpoints.restore(config.one_path(), abstract_state)
            (there / checkpoints.COMMIT_SUCCESS_FILE).touch()
        assert checkpoints.step_of(config.one_path()) == STEP
        assert_is(checkpoints.restore(config.one_path(), abstract_state), leaves)
        with pytest.raises(T5XError, match="gs://models/nothing does not exist"):
            utils.RestoreCheckpointConfig("gs://models/nothing", mode="specific").one_path()


def test_momentum_and_missing_optimizers_are_named(
    folder, leaves, abstract_state, request, tmp_path
):
    write = request.node.callspec.params["folder"]
    norm = "state/param_states/encoder/encoder_norm/scale/m"
    write(tmp_path / "momentum", leaves | {norm: np.ones(128, np.float32)})
    with pytest.raises(T5XError, match=f"{norm} is not in the model"):
        checkpoints.restore(tmp_path / "momentum", abstract_state)
    bare = {k: v for k, v in leaves.items() if "param_states" not in k}
    write(tmp_path / "bare", bare)
    with pytest.raises(T5XError, match=r"v_row is not in it.*strict = False"):
        checkpoints.restore(tmp_path / "bare", abstract_state)
    state = checkpoints.restore(tmp_path / "bare", abstract_state, optimizer=False)
    assert int(state.step) == STEP


def test_ours_has_the_layout_of_t5x(tmp_path, folder, leaves, abstract_state):
    state = checkpoints.restore(folder, abstract_state)
    writer = checkpoints.CheckpointWriter(tmp_path)
    writer.save(STEP, state)
    writer.close()
    tree = ocp.PyTreeCheckpointer().restore(tmp_path / f"checkpoint_{STEP}" / "state")
    written = traverse_util.flatten_dict(tree, sep="/")
    assert int(written.pop("state/count")) == STEP
    assert written.keys() == leaves.keys()
    for name, value in leaves.items():
        np.testing.assert_array_equal(written[name], value)
    assert_is(checkpoints.restore(tmp_path / f"checkpoint_{STEP}", abstract_state), leaves)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"model_checkpoint_path: model.ckpt-1", "not T5X's MessagePack"),
        (serialization.msgpack_serialize({"version": 3})[:-1], "not T5X's MessagePack"),
        (serialization.msgpack_serialize({"version": 3, "optimizer": {}}), "not T5X's MessagePack"),
        (
            serialization.msgpack_serialize(
                {"version": 1, "optimizer": {"target": {}, "state": {}}}
            ),
            "version 1",
        ),
    ],
)
def test_other_files_of_that_name_are_refused(tmp_path, abstract_state, contents, message):
    (tmp_path / "checkpoint").write_bytes(contents)
    with pytest.raises(T5XError, match=message):
        checkpoints.restore(tmp_path, abstract_state)


def test_a_missing_subfolder_is_named(tmp_path, leaves, abstract_state):
    write_legacy(tmp_path / "whole", leaves)
    shutil.rmtree(tmp_path / "whole" / "target.encoder.encoder_norm.scale")
    with pytest.raises(T5XError, match="target/encoder/encoder_norm/scale can't be read"):
        checkpoints.restore(tmp_path / "whole", abstract_state)


def test_bfloat16_disguised_as_integers_is_refused(tmp_path, leaves, abstract_state):
    """As T5X wrote it before version 3: read as numbers, it would be nonsense."""
    name = "target/encoder/encoder_norm/scale"
    write_legacy(tmp_path / "old", leaves | {name: np.ones(128, np.uint16)})
    with pytest.raises(T5XError, match="bfloat16"):
        checkpoints.restore(tmp_path / "old", abstract_state)


def test_names_stay_when_the_optimizer_is_clipped_and_are_unique_when_layers_are_stacked():
    kernel = nn.LogicallyPartitioned(jnp.zeros((3, 128, 256)), ("layers", "embed", "mlp"))
    boxed = {"stack": {"kernel": kernel}, "norm": {"scale": jnp.zeros(128)}}

    def leaves_of(params, **settings):
        rules = adafactor.standard_logical_factor_rules()
        optimizer = adafactor.Adafactor(logical_factor_rules=rules, **settings)
        plain = nn.unbox(params)
        state = TrainState(jnp.int32(0), plain, optimizer.transformation(params).init(plain))
        named = layout.flatten(state)
        again = layout.unflatten(named, like=state)
        assert jax.tree.structure(again) == jax.tree.structure(state)
        assert all(map(lambda x, y: x is y, jax.tree.leaves(again), jax.tree.leaves(state)))
        return {name: leaf.shape for name, leaf in named.items()}

    alone = {"norm": boxed["norm"]}
    clipped = leaves_of(alone, global_norm_clip_threshold=1.0)
    assert clipped == leaves_of(alone)
    assert layout.counts(clipped) == {"state/count"}
    stacked = leaves_of(boxed)
    assert stacked["state/param_states/stack/kernel/v_row"] == (3, 128)
    assert stacked["state/param_states/norm/scale/v"] == (128,)
