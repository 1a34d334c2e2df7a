"""Decoding over toy language models whose every probability is known."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import decoding
from t5x.errors import T5XError

EOS, VOCAB, LENGTH, BATCH = 1, 5, 4, 3


class ToyModel:
    """Next-token logits are random, and depend on the example and on all tokens so far."""

    def __init__(self, seed, num_decodes, spread=1.5):
        rng = np.random.default_rng(seed)
        self.logits = rng.normal(0, spread, (BATCH, VOCAB**LENGTH, VOCAB)).astype(np.float32)
        self.num_decodes = num_decodes

    def initial_cache(self):
        """A number that spells out the tokens so far per row, the row's example, and a scalar."""
        rows = BATCH * self.num_decodes
        return {
            "spelled": jnp.zeros(rows, jnp.int32),
            "example": jnp.repeat(jnp.arange(BATCH), self.num_decodes),
            "steps": jnp.zeros((), jnp.int32),
        }

    def step(self, tokens, cache):
        spelled = cache["spelled"] * VOCAB + tokens
        logits = jnp.asarray(self.logits)[cache["example"], spelled]
        return logits, {**cache, "spelled": spelled, "steps": cache["steps"] + 1}

    def decode(self, function, **settings):
        decode = functools.partial(
            function, self.step, batch_size=BATCH, length=LENGTH, num_decodes=self.num_decodes,
            **settings,
        )  # fmt: skip
        return jax.jit(decode)(self.initial_cache())

    def log_probs(self, example, tokens):
        """Log probabilities of the token after 0 and `tokens`, in float64."""
        spelled = functools.reduce(lambda number, token: number * VOCAB + token, tokens, 0)
        logits = self.logits[example, spelled].astype(np.float64)
        return logits - np.log(np.exp(logits).sum())

    def log_likelihood(self, example, tokens):
        return sum(self.log_probs(example, tokens[:i])[t] for i, t in enumerate(tokens))

    def all_finished(self, example, alpha):
        """Every sequence that ends within the length, as (score, padded tokens), best first."""
        scored = []
        for size in range(LENGTH):
            for start in itertools.product([t for t in range(VOCAB) if t != EOS], repeat=size):
                tokens = (*start, EOS)
                penalty = ((5 + len(tokens)) / 6) ** alpha
                score = self.log_likelihood(example, tokens) / penalty
                scored.append((score, tokens + (0,) * (LENGTH - len(tokens))))
        return sorted(scored, reverse=True)


def until_eos(tokens):
    tokens = [int(t) for t in tokens]
    return tuple(tokens[: tokens.index(EOS) + 1] if EOS in tokens else tokens)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.5])
def test_wide_beam_finds_what_brute_force_finds(seed, alpha):
    # As many beams as sequences that could be alive: nothing is ever pruned.
    model = ToyModel(seed, num_decodes=(VOCAB - 1) ** (LENGTH - 1) * VOCAB)
    tokens, scores = model.decode(decoding.beam_search, alpha=alpha)
    for example in range(BATCH):
        wanted = model.all_finished(example, alpha)
        found = [tuple(map(int, t)) for t in tokens[example, ::-1][: len(wanted)]]
        assert found == [t for _, t in wanted]
        np.testing.assert_allclose(
            scores[example, ::-1][: len(wanted)], [s for s, _ in wanted], rtol=1e-4
        )


def search_to_the_end(model, example, beams, alpha):
    """Beam search in plain Python that never stops early: (score, tokens), best first."""

    def penalized(score, tokens):
        return score / ((5 + len(tokens)) / 6) ** alpha, tokens

    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for _ in range(LENGTH):
        candidates = sorted(
            (
                (score + log_prob, (*tokens, token))
                for score, tokens in live
                for token, log_prob in enumerate(model.log_probs(example, tokens))
            ),
            reverse=True,
        )
        finished += [penalized(s, t) for s, t in candidates[:beams] if t[-1] == EOS]
        live = [(s, t) for s, t in candidates if t[-1] != EOS][:beams]
    finished = sorted(finished, reverse=True)[:beams]
    return (finished + [penalized(*beam) for beam in live])[:beams]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("alpha", [0.0, 2.0])
@pytest.mark.parametrize("beams", [1, 3])
def test_narrow_beam_finds_what_a_search_to_the_end_finds(seed, alpha, beams):
    model = ToyModel(seed, num_decodes=beams)
    tokens, scores = model.decode(decoding.beam_search, alpha=alpha)
    assert tokens.shape == (BATCH, beams, LENGTH) and tokens.dtype == jnp.int32
    for example in range(BATCH):
        wanted = search_to_the_end(model, example, beams, alpha)[::-1]
        assert [until_eos(t) for t in tokens[example]] == [t for _, t in wanted]
        np.testing.assert_allclose(scores[example], [s for s, _ in wanted], rtol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_one_beam_is_greedy(seed):
    model = ToyModel(seed, num_decodes=1)
    beam, beam_scores = model.decode(decoding.beam_search, alpha=0.0)
    greedy, greedy_scores = model.decode(decoding.temperature_sample, temperature=0.0)
    np.testing.assert_array_equal(beam, greedy)
    np.testing.assert_allclose(beam_scores, greedy_scores, rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_greedy_takes_the_likeliest_token_and_pads_after_eos(seed):
    model = ToyModel(seed, num_decodes=1)
    tokens, scores = model.decode(decoding.temperature_sample)
    for example in range(BATCH):
        wanted: tuple[int, ...] = ()
        while len(wanted) < LENGTH and EOS not in wanted:
            wanted += (int(np.argmax(model.log_probs(example, wanted))),)
        assert tuple(map(int, tokens[example, 0])) == wanted + (0,) * (LENGTH - len(wanted))
        np.testing.assert_allclose(
            scores[example, 0], model.log_likelihood(example, wanted), rtol=1e-5
        )


def test_beam_search_stops_when_nothing_better_can_come():
    """With EOS all but certain, one step decides it, however long the outputs may be."""
    steps = []

    def step(tokens, cache):
        jax.debug.callback(lambda: steps.append(1))
        return jnp.full((tokens.shape[0], VOCAB), -20.0).at[:, EOS].set(20.0), cache

    tokens, _ = decoding.beam_search(
        step, {"k": jnp.zeros(2)}, batch_size=2, length=50, num_decodes=1
    )
    jax.effects_barrier()
    assert len(steps) == 1
    assert tokens[:, 0, 0].tolist() == [EOS, EOS] and not tokens[:, 0, 1:].any()


def test_beam_search_goes_on_while_something_longer_can_win():
    """Ending at once is likelier, and loses by the brevity penalty to three more tokens."""
    table = np.full((4, VOCAB), 1e-9)
    table[:, [EOS, 2]] = [[0.55, 0.45], [0.01, 0.99], [0.01, 0.99], [0.99, 0.01]]

    def step(tokens, position):
        return jnp.log(jnp.asarray(table, jnp.float32))[position][None], position + 1

    tokens, scores = decoding.beam_search(
        step, jnp.zeros((), jnp.int32), batch_size=1, length=4, num_decodes=1, alpha=2.0
    )
    assert tokens.tolist() == [[[2, 2, 2, EOS]]]
    np.testing.assert_allclose(scores, np.log(0.45 * 0.99**3) / 1.5**2, rtol=1e-5)


def test_sampling_stops_when_all_have_ended():
    steps = []

    def step(tokens, cache):
        jax.debug.callback(lambda: steps.append(1))
        return jnp.zeros((tokens.shape[0], VOCAB)).at[:, EOS].set(9.0), cache

    decoding.temperature_sample(step, {}, batch_size=2, length=50)
    jax.effects_barrier()
    assert len(steps) == 1


def frequencies(num_decodes=3000, **settings):
    """How often each first token is sampled for each example, with its true probability."""
    model = ToyModel(0, num_decodes)
    tokens, scores = model.decode(decoding.temperature_sample, rng=jax.random.key(5), **settings)
    counted = [np.bincount(t[:, 0], minlength=VOCAB) / num_decodes for t in np.asarray(tokens)]
    truth = [np.exp(model.log_probs(example, ())) for example in range(BATCH)]
    return model, np.array(counted), np.array(truth), tokens, scores


def test_samples_follow_the_distribution():
    model, counted, truth, tokens, scores = frequencies(topk=0)
    np.testing.assert_allclose(counted, truth, atol=0.04)
    for row in (0, 700, 2999):
        wanted = model.log_likelihood(1, until_eos(tokens[1, row]))
        np.testing.assert_allclose(scores[1, row], wanted, rtol=1e-4)
    assert np.all(np.diff(scores, axis=1) >= 0)


def test_temperature_sharpens():
    _, counted, truth, _, _ = frequencies(topk=0, temperature=0.5)
    np.testing.assert_allclose(counted, truth**2 / (truth**2).sum(-1, keepdims=True), atol=0.04)


def test_topk_keeps_the_k_likeliest():
    _, counted, truth, _, _ = frequencies(topk=2)
    kept = truth >= np.sort(truth)[:, -2:-1]
    np.testing.assert_array_equal(counted > 0, kept)
    np.testing.assert_allclose(
        counted, truth * kept / (truth * kept).sum(-1, keepdims=True), atol=0.04
    )


def test_topp_keeps_the_smallest_set_that_reaches_p():
    _, counted, truth, _, _ = frequencies(topk=0, topp=0.7)
    for got, probabilities in zip(counted, truth, strict=True):
        order = np.argsort(-probabilities)
        size = 1 + np.searchsorted(np.cumsum(probabilities[order]), 0.7)
        assert set(np.flatnonzero(got)) == set(order[:size])


def test_same_key_same_samples():
    draw = functools.partial(ToyModel(0, 20).decode, decoding.temperature_sample, topk=0)
    first, again = draw(rng=jax.random.key(1))[0], draw(rng=jax.random.key(1))[0]
    np.testing.assert_array_equal(first, again)
    assert (first != draw(rng=jax.random.key(2))[0]).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"topk": 0}, "no random key"),
        ({"topk": 5, "topp": 0.5}, "both set"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"topk": -1}, "topk is -1"),
        ({"topk": 0, "topp": 1.5}, "topp is 1.5"),
    ],
)
def test_refuses_contradictory_sampling(settings, message):
    with pytest.raises(T5XError, match=message):
        ToyModel(0, 1).decode(decoding.temperature_sample, **settings)


@pytest.mark.parametrize("settings", [{"num_decodes": 0}, {"alpha": -0.1}])
def test_refuses_beams_that_make_no_sense(settings):
    with pytest.raises(T5XError, match=next(iter(settings))):
        decoding.beam_search(lambda t, c: (t, c), {}, batch_size=1, length=2, **settings)
