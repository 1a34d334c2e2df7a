"""Checkpoints: what is saved comes back, elsewhere too; another model's is recognized."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5x import checkpoints
from t5x.errors import T5XError
from t5x.trainer import TrainState

OPTIMIZER = optax.scale_by_adam()


def mesh_sharding(devices=1, spec=()):
    return NamedSharding(Mesh(np.array(jax.devices()[:devices]), ("data",)), PartitionSpec(*spec))


def make_state(step=3, width=8, extra=False):
    values = jax.random.normal(jax.random.key(step), (8, width))
    params = {"layer": {"kernel": values, "bias": jnp.arange(float(width))}}
    if extra:
        params["head"] = {"kernel": jnp.full((2, 2), 7.0)}
    optimizer = OPTIMIZER.init(params)._replace(count=jnp.int32(step))
    return jax.device_put(TrainState(jnp.int32(step), params, optimizer), mesh_sharding())


def abstract(state, sharding=None):
    sharding = sharding or mesh_sharding()
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=sharding if x.ndim == 2 else mesh_sharding(8)
        ),
        state,
    )


def save(directory, *states, data=None, **kwargs):
    writer = checkpoints.CheckpointWriter(directory, **kwargs)
    for state in states:
        writer.save(int(state.step), state, data)
    writer.close()


def assert_equal(state, other):
    assert jax.tree.structure(state) == jax.tree.structure(other)
    for x, y in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def listing(directory):
    return {p: p.stat().st_mtime_ns for p in sorted(directory.rglob("*"))}


class Counter:
    """A data position that is one number."""

    def __init__(self, value=0):
        self.value = value

    def save(self, path):
        epath.Path(f"{path}.txt").write_text(str(self.value))

    def restore(self, path):
        self.value = int(epath.Path(f"{path}.txt").read_text())


def test_round_trip_onto_another_mesh(tmp_path):
    state = make_state()
    save(tmp_path, state)
    sharding = mesh_sharding(8, ("data",))
    restored = checkpoints.restore(checkpoints.path_of(tmp_path, 3), abstract(state, sharding))
    assert_equal(restored, state)
    assert restored.params["layer"]["kernel"].sharding == sharding


def test_saved_state_is_not_touched_by_what_follows(tmp_path):
    """The writing goes on while the next step reuses the state's memory."""
    state = make_state()
    expected = jax.device_get(state)
    writer = checkpoints.CheckpointWriter(tmp_path)
    writer.save(3, state)
    jax.jit(lambda s: jax.tree.map(jnp.zeros_like, s), donate_argnums=0)(state)
    writer.close()
    restored = checkpoints.restore(checkpoints.path_of(tmp_path, 3), abstract(expected))
    assert_equal(restored, expected)


def test_keeps_the_newest_and_lists_only_finished_ones(tmp_path):
    save(tmp_path, make_state(1), make_state(2), make_state(10), keep=2)
    (tmp_path / "checkpoint_11.orbax-checkpoint-tmp-0").mkdir()
    assert checkpoints.steps(tmp_path) == [2, 10]
    assert checkpoints.step_of(checkpoints.path_of(tmp_path, 10)) == 10
    assert checkpoints.steps(tmp_path / "nowhere") == []


def test_bfloat16_halves_parameters_only(tmp_path):
    state = make_state()
    save(tmp_path, state, dtype="bfloat16")
    path = checkpoints.path_of(tmp_path, 3)
    restored = checkpoints.restore(path, abstract(state))
    rounded = jax.tree.map(lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), state.params)
    assert_equal(restored.params, rounded)
    assert_equal(restored.optimizer, state.optimizer)
    half = checkpoints.restore(path, abstract(state), optimizer=False, dtype="bfloat16")
    assert half.params["layer"]["kernel"].dtype == jnp.bfloat16
    assert half.optimizer is None


def test_data_position_travels_with_the_checkpoint(tmp_path):
    save(tmp_path, make_state(1), data=Counter(42))
    save(tmp_path, make_state(2))
    position = Counter()
    assert checkpoints.restore_position(checkpoints.path_of(tmp_path, 1), position)
    assert position.value == 42
    assert not checkpoints.restore_position(checkpoints.path_of(tmp_path, 2), position)


def test_position_of_another_number_of_processes_is_refused(tmp_path):
    save(tmp_path, make_state(1), data=Counter(42))
    path = checkpoints.path_of(tmp_path, 1)
    file = path / "data" / "process_00000-of-00001.txt"
    file.rename(path / "data" / "process_00000-of-00002.txt")
    with pytest.raises(T5XError, match="number of processes"):
        checkpoints.restore_position(path, Counter())


def test_another_models_checkpoint_is_refused_and_left_alone(tmp_path):
    save(tmp_path, make_state(width=8))
    before = listing(tmp_path)
    with pytest.raises(T5XError) as caught:
        checkpoints.restore(
            checkpoints.path_of(tmp_path, 3), abstract(make_state(width=4, extra=True))
        )
    message = str(caught.value)
    assert "target/layer/kernel is [8, 8] there and [8, 4] in the model" in message
    assert "target/head/kernel is not in it" in message
    assert "more" in message
    assert listing(tmp_path) == before


def test_missing_parameters_come_from_scratch_if_asked(tmp_path):
    old, new = make_state(), make_state(extra=True)
    save(tmp_path, old)
    path = checkpoints.path_of(tmp_path, 3)
    restored = checkpoints.restore(
        path, abstract(new), scratch=lambda choose: choose(make_state(9, extra=True))
    )
    assert_equal(restored.params["layer"], old.params["layer"])
    assert_equal(restored.params["head"], new.params["head"])
    assert int(restored.step) == 3
    assert restored.optimizer is None
    with pytest.raises(T5XError, match="not in the model"):
        save(tmp_path / "wide", new)
        checkpoints.restore(
            checkpoints.path_of(tmp_path / "wide", 3),
            abstract(old),
            scratch=lambda choose: choose(make_state()),
        )


def test_optimizer_of_another_kind_is_refused_unless_not_asked_for(tmp_path):
    state = make_state()
    save(tmp_path, state.replace(optimizer=optax.trace(0.9).init(state.params)))
    path = checkpoints.path_of(tmp_path, 3)
    with pytest.raises(T5XError, match="param_states/"):
        checkpoints.restore(path, abstract(state))
    assert_equal(checkpoints.restore(path, abstract(state), optimizer=False).params, state.params)


@pytest.mark.parametrize(
    ("name", "hint"), [("checkpoint_4", "checkpoint_3"), ("", "mode = 'latest'")]
)
def test_paths_that_are_no_checkpoint_say_what_is_near(tmp_path, name, hint):
    save(tmp_path, make_state())
    with pytest.raises(T5XError, match=hint):
        checkpoints.restore(tmp_path / name, abstract(make_state()))
