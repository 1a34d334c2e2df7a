"""Examples of all lengths in batches of few shapes, and back in order."""

import jax
import numpy as np
import pytest

from t5x import decoding, evaluation, length_buckets, models, partitioning

BATCH, LENGTH = 8, 12


def dataset(lengths, longest=LENGTH):
    """Batches of (indices, features) with inputs of these lengths, some with padding inside."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(2, 32, (len(lengths), longest))
    inputs[:, 1::5] = 0
    inputs[np.arange(longest) >= np.array(lengths)[:, None]] = 0
    inputs[np.arange(len(lengths)), np.array(lengths) - 1] = 9
    for start in range(0, len(lengths), BATCH):
        rows = slice(start, start + BATCH)
        yield (
            100 + np.arange(len(lengths))[rows],
            {
                "encoder_input_tokens": inputs[rows].astype(np.int32),
                "decoder_input_tokens": np.zeros((len(inputs[rows]), 4), np.int32),
            },
        )


@pytest.fixture
def two_batches_suffice(monkeypatch):
    monkeypatch.setattr(length_buckets, "FEWEST_BATCHES", 2)


def test_every_row_comes_once_and_loses_nothing_but_padding(monkeypatch, two_batches_suffice):
    monkeypatch.setattr(length_buckets, "BATCHES_AHEAD", 5)
    lengths = np.random.default_rng(1).integers(1, LENGTH + 1, 99)
    rows = {}
    for index, batch in dataset(lengths):
        rows |= dict(zip(index.tolist(), batch["encoder_input_tokens"], strict=True))
    dealt = list(length_buckets.by_length(dataset(lengths), BATCH))
    places = np.concatenate([place for place, _, _ in dealt])
    assert sorted(places.tolist()) == list(range(99))
    assert [len(place) for place, _, _ in dealt] == [BATCH] * 12 + [3]
    shapes = set()
    for place, index, batch in dealt:
        assert index.tolist() == (100 + place).tolist()
        inputs = batch["encoder_input_tokens"]
        shapes.add(inputs.shape[1])
        for number, row in zip(index.tolist(), inputs, strict=True):
            np.testing.assert_array_equal(np.trim_zeros(row, "b"), np.trim_zeros(rows[number], "b"))
    assert len(shapes) > 1 and shapes <= {12, 6, 3, 2}
    again = length_buckets.by_length(dataset(lengths), BATCH)
    assert [place.tolist() for place, _, _ in again] == [place.tolist() for place, _, _ in dealt]


def test_few_short_batches_are_not_worth_a_compilation():
    shapes = {
        batch["encoder_input_tokens"].shape
        for _, _, batch in length_buckets.by_length(dataset([3] * 40), BATCH)
    }
    assert shapes == {(BATCH, LENGTH)}


def test_predictions_and_scores_are_those_of_whole_batches(
    tiny_model, tiny_params, two_batches_suffice
):
    model = models.EncoderDecoderModel(
        tiny_model.module, None, None, tiny_model.optimizer_def, decoding.temperature_sample
    )
    lengths = np.random.default_rng(2).permutation([2, 3, 6, 5, 4, 1] * 4 + [12, 9, 11])
    decoder_params = {"temperature": 0.0, "rescale_log_probs": False}
    shapes = []

    def predict(params, batch):
        shapes.append(batch["encoder_input_tokens"].shape)
        return model.predict_batch_with_aux(params, batch, decoder_params=decoder_params)

    runner = evaluation.BatchRunner(partitioning.PjitPartitioner(1), BATCH)
    index, (tokens, aux) = runner.over(predict)(tiny_params, dataset(lengths))
    assert index.tolist() == list(range(100, 127))
    assert sorted(shapes) == [(BATCH, 3), (BATCH, 6), (BATCH, 12)]
    whole = jax.jit(predict)
    for start, (_, batch) in zip(range(0, 24, BATCH), dataset(lengths), strict=False):
        wanted, wanted_aux = whole(tiny_params, batch)
        rows = slice(start, start + BATCH)
        np.testing.assert_array_equal(tokens[rows], wanted)
        np.testing.assert_allclose(aux["scores"][rows], wanted_aux["scores"], rtol=1e-4)
