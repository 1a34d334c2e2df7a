"""Decoding against plain Python that looks at every sequence a toy model can say.

Each test's batch holds many random models: the first of them decide little, the last nearly all.
"""

import math
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from table_model import TableModel

from t5x import decoding

NUM_MODELS = 32


def penalty(alpha, length):
    return ((5 + length) / 6) ** alpha


def rank(model, candidates, alpha):
    """What a search returns of (log likelihood, tokens): (score, tokens), best first."""
    ended = [(s / penalty(alpha, len(t)), t) for s, t in candidates if t[-1] == model.eos_id]
    unended = [(s, t) for s, t in candidates if t[-1] != model.eos_id]
    return sorted(ended, reverse=True) + sorted(unended, reverse=True)


def search_to_the_end(model, example, beams):
    """Beam search that never stops early: all (log likelihood, tokens) that it comes across."""
    live, ended = [(0.0, ())], []
    for _ in range(model.length):
        candidates = sorted(
            (
                (score + log_prob, (*tokens, token))
                for score, tokens in live
                for token, log_prob in enumerate(model.log_probs(example, tokens))
            ),
            reverse=True,
        )[: 2 * beams]
        ended += [(s, t) for s, t in candidates if t[-1] == model.eos_id]
        live = [(s, t) for s, t in candidates if t[-1] != model.eos_id][:beams]
    return ended + live


def assert_decoded(model, example, tokens, scores, wanted):
    """Compares the output for an example, the best last, with (score, tokens), best first."""
    assert [model.until_eos(row) for row in tokens[::-1]] == [t for _, t in wanted], example
    np.testing.assert_allclose(scores[::-1], [s for s, _ in wanted], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module", params=[0, 1], ids=["eos is 1", "eos is 2"])
def model(request):
    spread = np.geomspace(0.1, 4.0, NUM_MODELS)[:, None, None]
    return TableModel(
        request.param, batch=NUM_MODELS, vocab=4, length=5, spread=spread, eos_id=1 + request.param
    )


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("beams", [1, 2, 5])
def test_beam_search_finds_what_a_search_to_the_end_finds(model, beams, alpha):
    tokens, scores = model.decode(decoding.beam_search, num_decodes=beams, alpha=alpha)
    assert tokens.shape == (NUM_MODELS, beams, 5) and tokens.dtype == np.int32
    for example in range(NUM_MODELS):
        wanted = rank(model, search_to_the_end(model, example, beams), alpha)[:beams]
        assert_decoded(model, example, tokens[example], scores[example], wanted)


@pytest.mark.parametrize(("beams", "alpha"), [(1, 4.0), (2, 2.0)])
def test_no_search_stops_while_it_could_still_find_better(model, beams, alpha):
    """Searches for one example each, as those of a batch go on until all are done."""

    def search(example):
        rows = jnp.zeros(beams, jnp.int32)
        return decoding.beam_search(
            model.step, {"spelled": rows, "example": rows + example}, batch_size=1,
            length=model.length, num_decodes=beams, alpha=alpha, eos_id=model.eos_id,
        )  # fmt: skip

    tokens, scores = jax.jit(jax.vmap(search))(jnp.arange(NUM_MODELS))
    for example in range(NUM_MODELS):
        wanted = rank(model, search_to_the_end(model, example, beams), alpha)[:beams]
        assert_decoded(model, example, tokens[example, 0], scores[example, 0], wanted)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_wide_beam_search_finds_every_sequence(alpha):
    model = TableModel(2, batch=8, vocab=4, length=4)
    everything = list(model.all_sequences())
    tokens, scores = model.decode(
        decoding.beam_search, num_decodes=len(everything) + 2, alpha=alpha
    )
    for example in range(model.batch):
        candidates = [(model.log_likelihood(example, t), t) for t in everything]
        wanted = rank(model, candidates, alpha)
        assert_decoded(model, example, tokens[example, 2:], scores[example, 2:], wanted)
    assert np.all(np.isneginf(scores[:, :2])), "more sequences than exist"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_greedy_takes_the_likeliest_token_each_time(dtype):
    # Few tokens, so that rounding to bfloat16 makes no ties.
    model = TableModel(3, batch=NUM_MODELS, vocab=3, length=6, dtype=jnp.dtype(dtype))
    tokens, scores = model.decode(
        decoding.temperature_sample, temperature=0.0, rescale_log_probs=False
    )
    for example in range(NUM_MODELS):
        wanted: tuple[int, ...] = ()
        while len(wanted) < model.length and model.eos_id not in wanted:
            wanted += (int(np.argmax(model.log_probs(example, wanted))),)
        score = model.log_likelihood(example, wanted)
        assert_decoded(model, example, tokens[example], scores[example], [(score, wanted)])


def limited(log_probs, temperature=1.0, topk=0, topp=0.0):
    """The distribution `[vocab]` to draw from: cooled, then cut to its likeliest tokens."""
    probabilities = np.exp(log_probs / temperature)
    probabilities /= probabilities.sum()
    order = np.argsort(-probabilities)
    kept = topk or len(order)
    if topp:
        kept = 1 + int(np.searchsorted(np.cumsum(probabilities[order]), topp))
    probabilities[order[kept:]] = 0
    return probabilities / probabilities.sum()


def sequence_probabilities(model, example, **settings):
    """How likely each sequence is to be drawn, for those that can be."""
    found = {}
    for tokens in model.all_sequences():
        steps = (
            limited(model.log_probs(example, tokens[:i]), **settings)[token]
            for i, token in enumerate(tokens)
        )
        found[tokens] = math.prod(steps)
    assert sum(found.values()) == pytest.approx(1)
    return {tokens: probability for tokens, probability in found.items() if probability}


@pytest.mark.parametrize(
    "settings", [{"topk": 2, "temperature": 0.7}, {"topk": 0, "topp": 0.8}], ids=str
)
def test_scores_are_by_default_of_what_is_drawn_from(settings):
    model = TableModel(4, batch=8, vocab=4, length=3)
    tokens, scores = model.decode(
        decoding.temperature_sample, num_decodes=20, rng=jax.random.key(0), **settings
    )
    for example in range(model.batch):
        likelihood = sequence_probabilities(model, example, **settings)
        wanted = [math.log(likelihood[model.until_eos(row)]) for row in tokens[example]]
        np.testing.assert_allclose(scores[example], wanted, rtol=1e-4, atol=1e-4)


def surprise(counts, probabilities):
    """p-value of counts (chi squared), with rare sequences taken together."""
    num_draws = sum(counts.values())
    expected = np.array(list(probabilities.values())) * num_draws
    observed = np.array([counts[tokens] for tokens in probabilities])
    rare = expected < 10
    expected = np.append(expected[~rare], max(expected[rare].sum(), 1e-9))
    observed = np.append(observed[~rare], observed[rare].sum())
    if len(expected) == 2 and expected[-1] < 1:
        return 1.0
    return scipy.stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


@pytest.mark.parametrize(
    "settings",
    [
        {"topk": 0},
        {"topk": 0, "temperature": 0.5},
        {"topk": 0, "temperature": 3.0},
        {"topk": 2},
        {"topk": 3, "temperature": 0.7},
        {"topk": 0, "topp": 0.6},
        {"topk": 0, "topp": 0.8, "temperature": 1.7},
        {"topk": 0, "topp": 0.9, "temperature": 0.6},
    ],
    ids=str,
)
def test_whole_sequences_are_drawn_as_often_as_they_should_be(settings):
    num_draws = 4000
    model = TableModel(4, batch=8, vocab=4, length=3)
    tokens, scores = model.decode(
        decoding.temperature_sample, num_decodes=num_draws, rng=jax.random.key(0),
        rescale_log_probs=False, **settings,
    )  # fmt: skip
    assert np.all(np.diff(scores) >= 0)
    for example in range(model.batch):
        drawn = [model.until_eos(row) for row in tokens[example]]
        probabilities = sequence_probabilities(model, example, **settings)
        assert set(drawn) <= set(probabilities), "drawn in spite of the limits"
        assert surprise(Counter(drawn), probabilities) > 1e-4
        # Scores are the model's own: neither cooled nor limited.
        own = {t: model.log_likelihood(example, t) for t in set(drawn)}
        np.testing.assert_allclose(scores[example], [own[t] for t in drawn], rtol=1e-4)


NO_LIMIT = [{"topk": 0}, {"topk": 9}, {"topk": 0, "topp": 1.0}]
GREEDY = [
    {"temperature": 0.0, "topk": 3},
    {"temperature": 1e-40, "topk": 0},
    {"temperature": 2e-4, "topk": 0},
    {"temperature": 5.0, "topk": 1},
    {"topk": 0, "topp": 1e-6},
]


def test_nothing_is_drawn_greedily_so_that_scores_are_0():
    _, scores = TableModel(5).decode(decoding.temperature_sample)
    assert not scores.any()


@pytest.mark.parametrize("settings", [NO_LIMIT, GREEDY], ids=["no limit", "greedy"])
def test_settings_that_mean_the_same_draw_the_same(settings):
    model = TableModel(5, batch=8)
    wanted, *others = (
        model.decode(
            decoding.temperature_sample,
            num_decodes=4,
            rng=jax.random.key(1),
            rescale_log_probs=False,
            **same,
        )
        for same in settings
    )
    assert np.all(np.isfinite(wanted[1]))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, other, wanted)
