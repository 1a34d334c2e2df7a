"""The model as trainers and launchers use it: loss, metrics, predictions, scores."""

import functools
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from t5x import decoding, models
from t5x.errors import T5XError


@pytest.fixture(scope="module")
def logits(tiny_model, tiny_params, tiny_batch):
    """The float64 log probabilities that the full forward pass gives."""
    tokens = {k: v for k, v in tiny_batch.items() if k.endswith("tokens")}
    forward = jax.jit(
        lambda p: tiny_model.module.apply({"params": p}, **tokens, enable_dropout=False)
    )
    return np.asarray(forward(tiny_params), np.float64)


def with_settings(model, **settings):
    """The same model with another decoding function or other loss settings."""
    defaults = {"decode_fn": model.decode_fn, "z_loss": model.z_loss}
    return models.EncoderDecoderModel(
        model.module, None, None, model.optimizer_def, **(defaults | settings)
    )


def test_loss_and_sums(tiny_model, tiny_params, tiny_batch, logits):
    loss, sums = jax.jit(lambda p, b: tiny_model.loss_fn(p, b, None))(tiny_params, tiny_batch)
    targets, weights = tiny_batch["decoder_target_tokens"], tiny_batch["decoder_loss_weights"]
    log_z = np.log(np.exp(logits).sum(-1))
    entropy = log_z - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    wanted = {
        "cross_entropy": (entropy * weights).sum(),
        "z_loss": (1e-4 * log_z**2 * weights).sum(),
        "correct": ((logits.argmax(-1) == targets) * weights).sum(),
        "weight": weights.sum(),
    }
    wanted["loss"] = wanted["cross_entropy"] + wanted["z_loss"]
    assert sums.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(sums[name], value, rtol=1e-5, err_msg=name)
        assert sums[name].dtype == jnp.float32 and sums[name].shape == ()
    np.testing.assert_allclose(loss, sums["loss"])


def test_normalizing_factor_divides_the_loss_but_no_sum(tiny_model, tiny_params, tiny_batch):
    loss, sums = tiny_model.loss_fn(tiny_params, tiny_batch, None)
    divided = with_settings(tiny_model, loss_normalizing_factor=16)
    loss_16, sums_16 = divided.loss_fn(tiny_params, tiny_batch, None)
    np.testing.assert_allclose(loss_16, loss / 16, rtol=1e-6)
    assert sums == sums_16


def test_weights_choose_tokens_and_default_to_all_but_padding(tiny_model, tiny_params, tiny_batch):
    unweighted = {k: v for k, v in tiny_batch.items() if k != "decoder_loss_weights"}
    loss, sums = tiny_model.loss_fn(tiny_params, tiny_batch, None)
    assert sums == tiny_model.loss_fn(tiny_params, unweighted, None)[1]
    halves = [
        tiny_model.loss_fn(
            tiny_params,
            {**tiny_batch, "decoder_loss_weights": tiny_batch["decoder_loss_weights"] * half},
            None,
        )[0]
        for half in (np.arange(8) % 2, 1 - np.arange(8) % 2)
    ]
    np.testing.assert_allclose(sum(halves), loss, rtol=1e-5)


def test_dropout_applies_only_with_a_key(tiny_model, tiny_params, tiny_batch):
    def loss(key):
        return float(tiny_model.loss_fn(tiny_params, tiny_batch, key)[0])

    assert loss(None) == loss(None)
    assert loss(jax.random.key(0)) == loss(jax.random.key(0)) != loss(jax.random.key(1))


def test_scores_are_log_likelihoods(tiny_model, tiny_params, tiny_batch, logits):
    scores = jax.jit(tiny_model.score_batch)(tiny_params, tiny_batch)
    targets, weights = tiny_batch["decoder_target_tokens"], tiny_batch["decoder_loss_weights"]
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    of_targets = np.take_along_axis(log_probs, targets[..., None], -1)[..., 0]
    assert scores.shape == (8,) and scores.dtype == jnp.float32
    np.testing.assert_allclose(scores, (of_targets * weights).sum(-1), rtol=1e-5)


def greedy_by_full_passes(model, params, inputs, length):
    """Greedy decoding without a cache: the whole prefix is run again for each token."""
    tokens = np.zeros((len(inputs), length + 1), np.int32)
    forward = jax.jit(
        lambda tokens: model.module.apply(
            {"params": params}, inputs, tokens, jnp.ones_like(tokens), enable_dropout=False
        )
    )
    for position in range(length):
        best = np.argmax(forward(tokens[:, :-1])[:, position], axis=-1)
        ended = np.any(tokens == decoding.EOS_ID, axis=1)
        tokens[:, position + 1] = np.where(ended, 0, best)
    return tokens[:, 1:]


OWN_SCORES = {"rescale_log_probs": False}


def has_inner_padding(tokens):
    """Whether token 0, which scoring takes for padding, was generated before the end, `[rows]`."""
    before_end = np.cumsum(tokens == decoding.EOS_ID, axis=-1) == 0
    return np.any((tokens == decoding.PAD_ID) & before_end, axis=-1)


def raise_eos(params, by):
    """Parameters that make EOS likelier, so that outputs end at different lengths."""
    kernel = params["decoder"]["logits_dense"]["kernel"]
    kernel = kernel.at[:, decoding.EOS_ID].multiply(by)
    return {**params, "decoder": {**params["decoder"], "logits_dense": {"kernel": kernel}}}


def test_greedy_predictions_equal_those_without_a_cache(tiny_model, tiny_params, tiny_batch):
    params = raise_eos(tiny_params, 3.0)
    model = with_settings(tiny_model, decode_fn=decoding.temperature_sample)
    predict = functools.partial(model.predict_batch_with_aux, decoder_params=OWN_SCORES)
    predicted, aux = jax.jit(predict)(params, tiny_batch)
    wanted = greedy_by_full_passes(model, params, tiny_batch["encoder_input_tokens"], 8)
    np.testing.assert_array_equal(predicted, wanted)
    assert len({int(np.sum(row > 0)) for row in wanted}) > 1, "all outputs have one length"
    scored = model.score_batch(
        params,
        {
            "encoder_input_tokens": tiny_batch["encoder_input_tokens"],
            "decoder_input_tokens": np.pad(wanted, ((0, 0), (1, 0)))[:, :-1],
            "decoder_target_tokens": wanted,
        },
    )
    comparable = ~has_inner_padding(wanted)
    assert comparable.sum() >= 4
    np.testing.assert_allclose(aux["scores"][comparable], scored[comparable], rtol=1e-4)


def test_predicts_by_beam_search_unless_told_otherwise(tiny_model, tiny_params, tiny_batch):
    """Without a brevity penalty it finds what greedy decoding finds, or an end that is likelier."""
    params = raise_eos(tiny_params, 3.0)
    assert tiny_model.decode_fn is decoding.beam_search
    greedy_model = with_settings(tiny_model, decode_fn=decoding.temperature_sample)

    def predict(params, batch):
        by_beams = tiny_model.predict_batch_with_aux(params, batch, decoder_params={"alpha": 0.0})
        greedy = greedy_model.predict_batch_with_aux(params, batch, decoder_params=OWN_SCORES)
        return by_beams, greedy

    (tokens, aux), (greedy, greedy_aux) = jax.jit(predict)(params, tiny_batch)
    is_same = np.all(tokens == greedy, axis=1)
    is_ended = np.any(greedy == decoding.EOS_ID, axis=1)
    assert is_same.any() and is_ended.any()
    np.testing.assert_allclose(aux["scores"][is_same], greedy_aux["scores"][is_same], rtol=1e-5)
    is_other = is_ended & ~is_same
    assert np.all(aux["scores"][is_other] > greedy_aux["scores"][is_other])


def test_all_decodes_score_as_the_model_scores_them(tiny_model, tiny_params, tiny_batch):
    """Also a check that each beam keeps its own cache."""
    params = raise_eos(tiny_params, 3.0)

    def predict(params, batch, return_all_decodes):
        return tiny_model.predict_batch_with_aux(
            params, batch, num_decodes=3, return_all_decodes=return_all_decodes,
            decoder_params={"alpha": 0.0},
        )  # fmt: skip

    predict = jax.jit(predict, static_argnums=2)
    tokens, aux = predict(params, tiny_batch, True)
    assert tokens.shape == (8, 3, 8) and aux["scores"].shape == (8, 3)
    targets = np.asarray(tokens).reshape(24, 8)
    scored = tiny_model.score_batch(
        params,
        {
            "encoder_input_tokens": np.repeat(tiny_batch["encoder_input_tokens"], 3, axis=0),
            "decoder_input_tokens": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
            "decoder_target_tokens": targets,
        },
    )
    comparable = ~has_inner_padding(targets)
    assert comparable.sum() >= 12
    np.testing.assert_allclose(aux["scores"].reshape(-1)[comparable], scored[comparable], rtol=1e-3)
    best, best_aux = predict(params, tiny_batch, False)
    np.testing.assert_array_equal(best, tokens[:, -1])
    np.testing.assert_array_equal(best_aux["scores"], aux["scores"][:, -1])


def test_predictions_do_not_look_at_targets(tiny_model, tiny_params, tiny_batch):
    predict = jax.jit(tiny_model.predict_batch)
    blank = np.zeros_like(tiny_batch["decoder_input_tokens"])
    np.testing.assert_array_equal(
        predict(tiny_params, {**tiny_batch, "decoder_input_tokens": blank}),
        predict(tiny_params, tiny_batch),
    )


def test_initial_variables_are_boxed_and_traceable(tiny_model):
    shapes = {"encoder_input_tokens": (4, 7), "decoder_input_tokens": (4, 3)}
    abstract = jax.eval_shape(
        lambda rng: tiny_model.initial_variables(rng, shapes), jax.random.key(0)
    )
    assert abstract.keys() == {"params"}
    boxes = jax.tree.leaves(abstract, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))
    for box in boxes:
        assert len(box.names) == box.value.ndim and box.value.dtype == jnp.float32


@pytest.mark.parametrize("factor", ["AVERAGE_PER_SEQUENCE", 0, -1.0, True])
def test_refuses_normalizing_factors_that_are_no_numbers(tiny_model, factor):
    with pytest.raises(T5XError, match=f"loss_normalizing_factor is {factor!r}"):
        with_settings(tiny_model, loss_normalizing_factor=factor)


def test_errors_survive_pickling():
    error = T5XError("size is 0", where="file.gin", remedy="Make it 1.")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "file.gin: size is 0. Make it 1."
    assert copy.is_user_error


def test_core_modules_need_neither_tensorflow_nor_seqio():
    script = (
        "import sys\n"
        "import t5x.adafactor, t5x.decoding, t5x.errors, t5x.losses, t5x.models\n"
        "import t5x.partitioning, t5x.examples.t5.network\n"
        "print(sorted({'tensorflow', 'seqio', 'tensorflow_datasets', 'gin'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"
