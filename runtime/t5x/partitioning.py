"""One device mesh, and the rules that say which array axis lies on which mesh axis.

The mesh has two axes: "data" (examples, and parameters when they are fully sharded) and "model"
(tensor parallelism). Parameters carry logical axis names ("embed", "mlp", ...); rules translate
those into mesh axes, so data parallel, fully sharded and tensor parallel training differ by
rules alone.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5x.errors import T5XError

MESH_AXES = ("data", "model")

MeshAxes = str | tuple[str, ...] | None
LogicalAxisRules = Sequence[tuple[str, MeshAxes]]


def standard_logical_axis_rules(
    activation_partitioning_dims: int = 1,
    parameter_partitioning_dims: int = 1,
    additional_rules: LogicalAxisRules | None = None,
) -> tuple[tuple[str, MeshAxes], ...]:
    """Returns T5X's standard rules, in order of precedence.

    The dimensions that tensor parallelism splits ("vocab", "mlp", "heads", "joined_kv") go to the
    model axis. The two arguments decide about "embed", which every array has.

    Args:
        activation_partitioning_dims: 2 also puts "embed" on the model axis where an array does
            not already use that axis.
        parameter_partitioning_dims: 2 also puts "embed" on the data axis, which shards parameters
            and optimizer state fully (ZeRO-3, FSDP).
        additional_rules: Rules to append, lowest precedence.

    Raises:
        T5XError: An argument is neither 1 nor 2.
    """
    for name, dims in (
        ("activation_partitioning_dims", activation_partitioning_dims),
        ("parameter_partitioning_dims", parameter_partitioning_dims),
    ):
        if dims not in (1, 2):
            raise T5XError(
                f"{name} is {dims!r}",
                where="partitioning.standard_logical_axis_rules",
                remedy="Use 1 or 2.",
            )
    rules: list[tuple[str, MeshAxes]] = [("batch", "data")]
    rules += [(name, "model") for name in ("vocab", "mlp", "heads", "joined_kv")]
    if activation_partitioning_dims == 2:
        rules.append(("embed", "model"))
    if parameter_partitioning_dims == 2:
        rules.append(("embed", "data"))
    rules += [(name, None) for name in ("embed", "kv", "length", "relpos_buckets", "layers")]
    return (*rules, *(additional_rules or ()))


class PjitPartitioner:
    """Places parameters, optimizer state and batches on a ("data", "model") device mesh.

    Attributes:
        mesh: The mesh, of shape [number of devices / model size, model size].
        logical_axis_rules: The rules in force, a tuple of (logical axis, mesh axis) pairs.

    Args:
        num_partitions: Size of the model axis, on every backend; 1 if not given.
        model_parallel_submesh: The same as a tile of TPU devices (x, y, z, cores), of which only
            the product counts: JAX chooses the layout. Give this or `num_partitions`.
        logical_axis_rules: Rules to use instead of `standard_logical_axis_rules()`.
        devices: The devices to use; all of them, on all hosts, if not given.

    Raises:
        T5XError: The number of devices is not a multiple of the model axis, both sizes are
            given, or a rule names a mesh axis that does not exist.
    """

    def __init__(
        self,
        num_partitions: int | None = None,
        model_parallel_submesh: Sequence[int] | None = None,
        logical_axis_rules: LogicalAxisRules | None = None,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        if logical_axis_rules is None:
            logical_axis_rules = standard_logical_axis_rules()
        self.logical_axis_rules = _checked_rules(logical_axis_rules)
        devices = jax.devices() if devices is None else devices
        model_size = _model_axis_size(num_partitions, model_parallel_submesh, len(devices))
        shape = (len(devices) // model_size, model_size)
        self.mesh = Mesh(_device_grid(shape, devices), MESH_AXES)

    @property
    def batch_sharding(self) -> NamedSharding:
        """The sharding of `[batch, ...]` arrays: by the rule for "batch", the rest replicated."""
        return NamedSharding(self.mesh, self._spec(("batch",)))

    @property
    def num_data_shards(self) -> int:
        """The number of parts that `batch_sharding` cuts a batch into."""
        return self._parts(self.batch_sharding.spec[0])

    def check_batch_size(self, batch_size: int) -> None:
        """Raises `T5XError` unless every data shard gets the same, non-zero number of examples."""
        shards = self.num_data_shards
        if batch_size < 1 or batch_size % shards:
            above = max(1, math.ceil(batch_size / shards)) * shards
            below = above - shards
            choices = f"{below} or {above}" if below > 0 else str(above)
            raise T5XError(
                f"a batch of {batch_size} cannot be split over {shards} data shards "
                f"(the mesh has {self._mesh_in_words()})",
                where="batch_size",
                remedy=f"Use a multiple of {shards}, such as {choices}, or change "
                "PjitPartitioner.num_partitions.",
            )

    def state_sharding(self, tree: Any) -> Any:
        """Returns the `NamedSharding` of every array in a tree.

        Args:
            tree: Arrays or their shapes (`jax.eval_shape`), as `model.initial_variables` returns
                them: boxed in `nn.LogicallyPartitioned`, which names their axes. What is not
                boxed is replicated, and so is a boxed array of another rank than its names,
                which is how the factored second moments of an optimizer appear.

        Returns:
            The tree with one `NamedSharding` in the place of each box or bare array: the
            structure that the unboxed tree has.

        Raises:
            T5XError: A mesh axis does not divide the dimension that the rules put on it.
        """
        return jax.tree_util.tree_map_with_path(self._leaf_sharding, tree, is_leaf=_is_box)

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Within it, logical constraints on activations take effect in functions being traced.

        Enter it around calls of jitted functions, never inside one. Without it the model computes
        the same values, and XLA alone decides where intermediate arrays lie.
        """
        with jax.set_mesh(self.mesh), nn.logical_axis_rules(self.logical_axis_rules):
            yield

    def _spec(self, names: Sequence[str | None]) -> PartitionSpec:
        spec = nn.logical_to_mesh_axes(names, self.logical_axis_rules)
        assert spec is not None  # Only for `names=None`.
        return spec

    def _leaf_sharding(self, path: tuple, leaf: Any) -> NamedSharding:
        names, shape = _names_and_shape(leaf)
        if len(names) != len(shape):
            return NamedSharding(self.mesh, PartitionSpec())
        axes = [
            # Optimizers put arrays of shape [1] where they need no state for a parameter.
            None if size == 1 else axis
            for size, axis in zip(shape, self._spec(names), strict=True)
        ]
        for name, size, axis in zip(names, shape, axes, strict=True):
            if size % self._parts(axis):
                raise T5XError(
                    f'its axis "{name}" of size {size} cannot be split over the mesh axis '
                    f"{axis!r} of size {self._parts(axis)}",
                    where=f"parameter {_path_in_words(path)} of shape {tuple(shape)}",
                    remedy=f"{self._what_would_divide(size, axis)}or map "
                    f'"{name}" to None in logical_axis_rules.',
                )
        return NamedSharding(self.mesh, PartitionSpec(*axes))

    def _what_would_divide(self, size: int, axis: MeshAxes) -> str:
        devices = self.mesh.size
        fitting = [
            str(n)
            for n in _divisors(devices)
            if size % _parts_on({"data": devices // n, "model": n}, axis) == 0
        ]
        if not fitting:
            return f"On {devices} devices no PjitPartitioner.num_partitions would do: use fewer, "
        return f"Set PjitPartitioner.num_partitions to {' or '.join(fitting)}, "

    def _parts(self, axis: MeshAxes) -> int:
        return _parts_on(self.mesh.shape, axis)

    def _mesh_in_words(self) -> str:
        return ", ".join(f"{name}={size}" for name, size in self.mesh.shape.items())


def _checked_rules(rules: LogicalAxisRules) -> tuple[tuple[str, MeshAxes], ...]:
    """Returns the rules as a tuple, or raises `T5XError` for an unknown mesh axis."""
    for name, axis in rules:
        for mesh_axis in (axis,) if isinstance(axis, str) else axis or ():
            if mesh_axis not in MESH_AXES:
                raise T5XError(
                    f'the rule for "{name}" names the mesh axis "{mesh_axis}"',
                    where="PjitPartitioner.logical_axis_rules",
                    remedy=f"The mesh axes are {', '.join(MESH_AXES)}; None replicates.",
                )
    return tuple((name, axis) for name, axis in rules)


def _model_axis_size(
    num_partitions: int | None, submesh: Sequence[int] | None, num_devices: int
) -> int:
    """Returns the size of the model axis, or raises `T5XError` if it cannot be had."""
    if num_partitions is not None and submesh is not None:
        raise T5XError(
            f"num_partitions={num_partitions} and model_parallel_submesh={tuple(submesh)} "
            "are both given",
            where="PjitPartitioner",
            remedy="Set one of them to None.",
        )
    size = math.prod(submesh) if submesh is not None else num_partitions
    size = 1 if size is None else size
    if min([size, *(submesh or ())]) < 1 or num_devices % size:
        argument = "num_partitions" if submesh is None else "model_parallel_submesh"
        raise T5XError(
            f"{num_devices} devices cannot be split into model partitions of "
            f"{size if submesh is None else ' x '.join(map(str, submesh))}",
            where=f"PjitPartitioner.{argument}",
            remedy=f"Use one of {', '.join(map(str, _divisors(num_devices)))}"
            + ("." if submesh is None else " as the product of positive numbers."),
        )
    return size


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _parts_on(mesh_shape: Mapping[str, int], axis: MeshAxes) -> int:
    """Into how many parts a mesh of that shape cuts what lies on its axis or axes."""
    names = (axis,) if isinstance(axis, str) else axis or ()
    return math.prod(mesh_shape[name] for name in names)


def _device_grid(shape: tuple[int, int], devices: Sequence[jax.Device]) -> np.ndarray:
    """The devices as an array `shape`, neighbours on the model axis close to each other.

    On a TPU slice a model axis may be shorter than the torus is wide: JAX must be allowed to split
    the torus' axes then (a v5e-16 is 4 x 4, and would have no mesh for two partitions).
    """
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


def _is_box(leaf: Any) -> bool:
    return isinstance(leaf, nn.LogicallyPartitioned)


def _names_and_shape(leaf: Any) -> tuple[tuple[str | None, ...], tuple[int, ...]]:
    if _is_box(leaf):
        return leaf.names, leaf.value.shape
    return (None,) * len(leaf.shape), leaf.shape


def _path_in_words(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
