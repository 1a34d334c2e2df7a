"""Packed rows become what seqio's own packing would make of them; all else is seqio's."""

import gin
import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_tasks import packing
from flan_tasks.converters import FeatureConverter

LENGTHS = {"inputs": 16, "targets": 12}
RESUME_AT = {"resume_at": seqio.FeatureConverter.FeatureSpec(dtype=tf.int64, rank=0)}


def random_window(seed, count=20):
    rng = np.random.default_rng(seed)

    def tokens(longest):
        return [rng.integers(2, 100, rng.integers(1, longest)).tolist() for _ in range(count)]

    return tokens(LENGTHS["inputs"]), tokens(LENGTHS["targets"])


def single_examples(inputs, targets):
    def examples():
        for place, pair in enumerate(zip(inputs, targets, strict=True)):
            yield dict(zip(packing.SIDES, pair, strict=True)) | {"resume_at": place + 1}

    tokens = tf.TensorSpec([None], tf.int32)
    signature = {"inputs": tokens, "targets": tokens, "resume_at": tf.TensorSpec([], tf.int64)}
    return tf.data.Dataset.from_generator(examples, output_signature=signature)


def packed_rows(packed):
    columns = packed.columns | {"resume_at": np.arange(1, len(packed) + 1)}
    return tf.data.Dataset.from_tensor_slices(columns)


def without_shapes(rows):
    """The rows as a file gives them: of lengths that only a row itself tells."""
    any_length = {
        name: tf.TensorSpec([None] * len(spec.shape), spec.dtype)
        for name, spec in rows.element_spec.items()
    }
    return tf.data.Dataset.from_generator(rows.as_numpy_iterator, output_signature=any_length)


def as_lists(dataset):
    return [
        {name: value.tolist() for name, value in element.items()}
        for element in dataset.as_numpy_iterator()
    ]


@pytest.fixture
def window():
    return random_window(0)


@pytest.fixture
def packed(window):
    return packing.pack(*window, LENGTHS, 0)


@pytest.mark.parametrize("bos_id", [0, 7])
def test_rows_get_the_features_of_seqios_packing(window, packed, bos_id):
    # Packed one row at a time, seqio puts together what we did.
    inputs, targets = window
    ours = FeatureConverter(pack=True, bos_id=bos_id)(packed_rows(packed), LENGTHS)
    theirs = seqio.EncDecFeatureConverter(pack=True, bos_id=bos_id)
    for row, examples in zip(as_lists(ours.take(3)), packed.examples[:3], strict=True):
        of_row = single_examples([inputs[e] for e in examples], [targets[e] for e in examples])
        assert [row] == as_lists(theirs(of_row, LENGTHS))


def test_the_decoder_reads_the_targets_one_step_late_within_each_example(window, packed):
    _, targets = window
    converted = FeatureConverter(pack=True)(packed_rows(packed), LENGTHS)
    for row, examples in zip(converted.as_numpy_iterator(), packed.examples, strict=True):
        for segment, example in enumerate(examples, start=1):
            of_segment = row["decoder_segment_ids"] == segment
            read = row["decoder_input_tokens"][of_segment].tolist()
            assert read == [0, *targets[example][:-1]]
        assert (row["decoder_loss_weights"] == (row["decoder_segment_ids"] > 0)).all()


@pytest.mark.parametrize("known_shapes", [True, False])
def test_features_have_the_lengths_that_are_promised(packed, known_shapes):
    rows = packed_rows(packed)
    converter = FeatureConverter(pack=True)
    converted = converter(rows if known_shapes else without_shapes(rows), LENGTHS)
    promised = converter.get_model_feature_lengths(LENGTHS)
    assert {name: spec.shape for name, spec in converted.element_spec.items()} == {
        name: (length,) for name, length in promised.items()
    }
    assert {spec.dtype for spec in converted.element_spec.values()} == {tf.int32}
    assert as_lists(converted) == as_lists(converter(rows, LENGTHS))


@pytest.mark.parametrize("pack", [True, False])
def test_single_examples_are_converted_as_seqio_does(window, pack):
    ours = FeatureConverter(pack=pack)(single_examples(*window), LENGTHS)
    theirs = seqio.EncDecFeatureConverter(pack=pack)(single_examples(*window), LENGTHS)
    assert ours.element_spec == theirs.element_spec
    assert as_lists(ours) == as_lists(theirs)


def test_a_feature_passes_through_with_packed_rows(packed):
    converter = FeatureConverter(pack=True, passthrough_features=RESUME_AT)
    converted = as_lists(converter(packed_rows(packed), LENGTHS))
    assert [row.pop("resume_at") for row in converted] == list(range(1, len(packed) + 1))
    assert converted == as_lists(FeatureConverter(pack=True)(packed_rows(packed), LENGTHS))


def test_a_feature_passes_through_with_single_examples(window):
    converter = FeatureConverter(pack=False, passthrough_features=RESUME_AT)
    converted = as_lists(converter(single_examples(*window), LENGTHS))
    assert [row.pop("resume_at") for row in converted] == list(range(1, 21))
    assert converted == as_lists(FeatureConverter(pack=False)(single_examples(*window), LENGTHS))


@pytest.mark.parametrize("pack", [True, False])
def test_a_list_passes_through_at_its_length(window, packed, pack):
    spec = {"resume_at": seqio.FeatureConverter.FeatureSpec(dtype=tf.int64)}
    dataset = packed_rows(packed) if pack else single_examples(*window)
    dataset = dataset.map(lambda row: row | {"resume_at": row["resume_at"][tf.newaxis]})
    converter = FeatureConverter(pack=pack, passthrough_features=spec)
    converted = converter(dataset, LENGTHS | {"resume_at": 1})
    assert converted.element_spec["resume_at"].shape == [1]
    assert [row["resume_at"] for row in as_lists(converted)[:3]] == [[1], [2], [3]]


def test_lengths_of_model_features_include_scalars():
    converter = FeatureConverter(pack=True, passthrough_features=RESUME_AT)
    lengths = converter.get_model_feature_lengths(LENGTHS)
    assert lengths["resume_at"] == ()
    assert lengths["encoder_segment_ids"] == LENGTHS["inputs"]


def test_a_feature_cannot_pass_through_seqios_packing(window):
    converter = FeatureConverter(pack=True, passthrough_features=RESUME_AT)
    with pytest.raises(packing.PackingError, match="resume_at cannot pass"):
        converter(single_examples(*window), LENGTHS)


def test_packed_rows_without_packing_are_an_error(packed):
    with pytest.raises(packing.PackingError, match=r"packed already(.|\n)*Set pack = True"):
        FeatureConverter(pack=False)(packed_rows(packed), LENGTHS)


@pytest.mark.parametrize("other", [{"inputs": 15}, {"targets": 13}])
def test_rows_packed_to_other_lengths_are_an_error(packed, other):
    [(side, length)] = other.items()
    message = rf"{side} is int32 \({LENGTHS[side]},\), not int32 \({length},\)"
    with pytest.raises(packing.PackingError, match=message):
        FeatureConverter(pack=True)(packed_rows(packed), LENGTHS | other)


def test_rows_of_unknown_shape_are_checked_one_by_one(packed):
    rows = without_shapes(packed_rows(packed))
    converted = FeatureConverter(pack=True)(rows, LENGTHS | {"targets": 13})
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"targets is not int32 \(13,\)"):
        as_lists(converted)


def test_rows_without_all_features_are_an_error(packed):
    def without_positions(row):
        return {name: value for name, value in row.items() if name != "targets_positions"}

    with pytest.raises(packing.PackingError, match="no feature 'targets_positions'"):
        FeatureConverter(pack=True)(packed_rows(packed).map(without_positions), LENGTHS)


def test_a_feature_to_pass_through_must_be_there(packed):
    absent = {"row": RESUME_AT["resume_at"]}
    converter = FeatureConverter(pack=True, passthrough_features=absent)
    with pytest.raises(packing.PackingError, match=r"no feature 'row', only .*resume_at"):
        converter(packed_rows(packed), LENGTHS)


def test_gin_names_and_configures_it(packed):
    with gin.unlock_config():
        gin.parse_config("""
            from __gin__ import dynamic_registration
            from flan_tasks import converters
            CONVERTER = @here/converters.FeatureConverter
            here/converters.FeatureConverter.bos_id = 5
        """)
    converter_cls = gin.query_parameter("%CONVERTER").scoped_configurable_fn
    converter = converter_cls(pack=True, use_custom_packing_ops=False)
    assert isinstance(converter, seqio.EncDecFeatureConverter)
    [row, *_] = as_lists(converter(packed_rows(packed), LENGTHS))
    assert row["decoder_input_tokens"][0] == 5
