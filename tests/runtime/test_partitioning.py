"""Rules become shardings, on eight simulated devices; what cannot be split is refused in words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import PartitionSpec as P

from t5x.errors import T5XError
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules

FULLY_SHARDED = standard_logical_axis_rules(1, 2)


def spec_of(partitioner, *names):
    box = nn.LogicallyPartitioned(jax.ShapeDtypeStruct((8,) * len(names), jnp.float32), names)
    return partitioner.state_sharding(box).spec


@pytest.mark.parametrize(("num_partitions", "data"), [(None, 8), (1, 8), (2, 4), (4, 2), (8, 1)])
def test_mesh_shape(num_partitions, data):
    mesh = PjitPartitioner(num_partitions).mesh
    assert dict(mesh.shape) == {"data": data, "model": 8 // data}


def test_submesh_counts_by_its_product():
    assert PjitPartitioner(model_parallel_submesh=(2, 1, 1, 2)).mesh.shape["model"] == 4


@pytest.mark.parametrize(
    ("rules", "kernel", "table", "scale"),
    [
        ((1, 1), P(None, "model"), P("model", None), P(None)),
        ((2, 1), P(None, "model"), P("model", None), P("model")),
        ((1, 2), P("data", "model"), P("model", "data"), P("data")),
        ((2, 2), P("data", "model"), P("model", "data"), P("model")),
    ],
)
def test_standard_rules(rules, kernel, table, scale):
    partitioner = PjitPartitioner(2, logical_axis_rules=standard_logical_axis_rules(*rules))
    assert spec_of(partitioner, "embed", "mlp") == kernel
    assert spec_of(partitioner, "vocab", "embed") == table
    assert spec_of(partitioner, "embed") == scale
    assert partitioner.batch_sharding.spec == P("data")


def test_additional_rules_apply_and_come_last():
    rules = standard_logical_axis_rules(additional_rules=[("expert", "data"), ("mlp", "data")])
    partitioner = PjitPartitioner(2, logical_axis_rules=rules)
    assert spec_of(partitioner, "expert", "mlp") == P("data", "model")


def test_unboxed_factored_and_placeholder_arrays_are_replicated():
    partitioner = PjitPartitioner(2, logical_axis_rules=FULLY_SHARDED)
    tree = {
        "count": jax.ShapeDtypeStruct((), jnp.int32),
        "v_row": nn.LogicallyPartitioned(jnp.zeros(8), ("embed", "mlp")),
        "v": nn.LogicallyPartitioned(jnp.zeros(1), ("embed",)),
    }
    specs = jax.tree.map(lambda s: s.spec, partitioner.state_sharding(tree))
    assert specs == {"count": P(), "v_row": P(), "v": P(None)}


def test_sharding_has_the_structure_of_the_unboxed_tree(tiny_boxed_variables, tiny_model):
    partitioner = PjitPartitioner(2, logical_axis_rules=FULLY_SHARDED)
    initialize = tiny_model.optimizer_def.transformation().init
    for boxed in (
        tiny_boxed_variables,
        jax.eval_shape(initialize, tiny_boxed_variables["params"]),
    ):
        sharding = partitioner.state_sharding(boxed)
        jax.tree.map(lambda _, leaf: None, sharding, nn.unbox(boxed))  # Raises if they differ.


def test_initialization_does_not_depend_on_the_mesh(tiny_model, tiny_boxed_variables, tiny_params):
    partitioner = PjitPartitioner(4, logical_axis_rules=FULLY_SHARDED)
    sharding = partitioner.state_sharding(tiny_boxed_variables["params"])
    shapes = {"encoder_input_tokens": (8, 12), "decoder_input_tokens": (8, 8)}
    initialize = jax.jit(
        lambda rng: nn.unbox(tiny_model.initial_variables(rng, shapes)["params"]),
        out_shardings=sharding,
    )
    with partitioner.scope():
        params = initialize(jax.random.key(0))
    # Equal up to rounding: compilers order a sum's terms as they like.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), params, tiny_params)


def test_constraints_reach_activations_within_the_scope_only():
    partitioner = PjitPartitioner(2)

    @jax.jit
    def constrain(x):
        return nn.with_logical_constraint(x, ("batch", "mlp"))

    assert constrain(jnp.zeros((8, 8))).sharding.is_fully_replicated
    with partitioner.scope():
        assert constrain(jnp.zeros((8, 8))).sharding.spec == P("data", "model")


@pytest.mark.parametrize("size", [1, 12, 0, -4])
def test_refuses_a_batch_that_the_mesh_does_not_divide(size):
    with pytest.raises(T5XError, match="multiple of 8") as error:
        PjitPartitioner(1).check_batch_size(size)
    assert str(size) in str(error.value)
    if size == 12:
        assert "8 or 16" in str(error.value)


@pytest.mark.parametrize("size", [8, 16, 128])
def test_accepts_a_batch_that_the_mesh_divides(size):
    PjitPartitioner(1).check_batch_size(size)


@pytest.mark.parametrize("num_partitions", [3, 16, 0, -1])
def test_refuses_partitions_that_do_not_divide_the_devices(num_partitions):
    with pytest.raises(T5XError, match=f"8 devices.*{num_partitions}.*1, 2, 4, 8"):
        PjitPartitioner(num_partitions)


def test_refuses_both_ways_of_saying_the_size():
    with pytest.raises(T5XError, match="both given"):
        PjitPartitioner(2, (1, 1, 1, 2))


def test_refuses_unknown_mesh_axes():
    with pytest.raises(T5XError, match=r'"embed".*"datum"'):
        PjitPartitioner(1, logical_axis_rules=[("embed", "datum")])


def test_refuses_partitioning_dims_other_than_one_and_two():
    with pytest.raises(T5XError, match="parameter_partitioning_dims is 3"):
        standard_logical_axis_rules(1, 3)


def test_refuses_a_parameter_that_cannot_be_split():
    tree = {"rel_embedding": nn.LogicallyPartitioned(jnp.zeros((6, 32)), ("heads", "relpos"))}
    with pytest.raises(T5XError, match=r'rel_embedding of shape \(6, 32\).*"heads" of size 6'):
        PjitPartitioner(4).state_sharding(tree)
