"""From packed rows to what an encoder-decoder model reads."""

from collections.abc import Mapping, Sequence
from typing import Any

import gin
import numpy as np
import seqio
import tensorflow as tf

from flan_tasks.packing import SEGMENT_SUFFIXES, SIDES, PackingError

# The length of a scalar, in the way that seqio's converters understand.
_NO_LENGTH = ()
_OTHER_LENGTHS = "Give the same task_feature_lengths to packing and to converting."


@gin.configurable
class FeatureConverter(seqio.EncDecFeatureConverter):
    """seqio's converter for encoder-decoder models, which takes rows packed already, too.

    Packed rows, known by their segment ids, are converted one by one as they are, to the features
    that come of seqio's own packing. Every other dataset is padded or packed exactly as seqio does.

    Args:
      pack: whether a row for the model holds several examples.
      use_custom_packing_ops: see seqio, whose own packing this is for.
      apply_length_check: whether seqio checks lengths; those of packed rows always are.
      bos_id: what the decoder reads before the first token of an example.
      passthrough_features: further features to keep as they are, by name; not through seqio's own
        packing. Scalars need no entry in `task_feature_lengths`.
    """

    def __init__(
        self,
        pack: bool = True,
        use_custom_packing_ops: bool = False,
        apply_length_check: bool = True,
        bos_id: int = 0,
        passthrough_features: Mapping[str, seqio.FeatureConverter.FeatureSpec] | None = None,
    ):
        # The base class would refuse the last with `pack`; only its own packing has to.
        super().__init__(pack, use_custom_packing_ops, apply_length_check, bos_id)
        self._passthrough_features = dict(passthrough_features or {})

    def __call__(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        """The dataset with model features, as long as `get_model_feature_lengths` says.

        Raises:
          PackingError: packed rows without `pack`, of other lengths, or with a feature missing; or
            features that should pass through seqio's own packing.
        """
        lengths = self._with_scalars(task_feature_lengths)
        if _is_packed(ds.element_spec):
            return self._convert_packed(ds, lengths)
        if self.pack and self._passthrough_features:
            raise PackingError(
                f"{', '.join(self._passthrough_features)} cannot pass through seqio's packing, "
                "which makes one row of many examples",
                where="FeatureConverter",
                remedy="Convert a mixture that is packed already, or set pack = False.",
            )
        return super().__call__(ds, lengths)

    def get_model_feature_lengths(
        self, task_feature_lengths: Mapping[str, int]
    ) -> Mapping[str, int]:
        """The length of each model feature; see the base class. A scalar's is `()`."""
        return super().get_model_feature_lengths(self._with_scalars(task_feature_lengths))

    def _with_scalars(self, lengths: Mapping[str, int]) -> Mapping[str, Any]:
        passed = self._passthrough_features.items()
        return {**{name: _NO_LENGTH for name, spec in passed if spec.rank == 0}, **lengths}

    def _convert_packed(self, rows: tf.data.Dataset, lengths: Mapping[str, int]) -> tf.data.Dataset:
        if not self.pack:
            raise PackingError(
                "these rows are packed already, and without segment ids a model would let the "
                "examples of a row attend to each other",
                where="FeatureConverter",
                remedy="Set pack = True, or convert the mixture as it was before packing.",
            )
        specs = {
            f"{side}{suffix}": _spec(lengths[side], tf.int32)
            for side in SIDES
            for suffix in ("", *SEGMENT_SUFFIXES)
        }
        for name, feature in self._passthrough_features.items():
            specs[name] = _spec(lengths[name], feature.dtype)
        _check(rows.element_spec, specs)
        return rows.map(
            lambda row: self._convert_example(_with_shapes(row, specs)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )


def _is_packed(features: Mapping[str, tf.TensorSpec]) -> bool:
    return any(side + suffix in features for side in SIDES for suffix in SEGMENT_SUFFIXES)


def _spec(length: int | Sequence[int], dtype: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec(np.atleast_1d(length).tolist(), dtype)


def _check(found: Mapping[str, tf.TensorSpec], expected: Mapping[str, tf.TensorSpec]) -> None:
    for name, spec in expected.items():
        if name not in found:
            raise PackingError(
                f"no feature {name!r}, only {', '.join(sorted(found))}",
                where="packed rows",
                remedy="Pack with this package, and pass through only what the rows have.",
            )
        if not spec.is_compatible_with(found[name]):
            raise PackingError(
                f"{name} is {_describe(found[name])}, not {_describe(spec)}",
                where="packed rows",
                remedy=_OTHER_LENGTHS,
            )


def _describe(spec: tf.TensorSpec) -> str:
    return f"{spec.dtype.name} {spec.shape}"


def _with_shapes(
    row: Mapping[str, tf.Tensor], specs: Mapping[str, tf.TensorSpec]
) -> dict[str, tf.Tensor]:
    """The features of `specs`; where a shape is not known beforehand, each row's is checked."""
    checks = [
        tf.debugging.assert_equal(
            tf.shape(row[name]),
            tf.constant(spec.shape.as_list(), tf.int32),
            message=f"packed rows: {name} is not {_describe(spec)}.\n  {_OTHER_LENGTHS}",
        )
        for name, spec in specs.items()
    ]
    with tf.control_dependencies(checks):
        return {name: tf.ensure_shape(row[name], spec.shape) for name, spec in specs.items()}
