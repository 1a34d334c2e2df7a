"""When decoding stops, what makes it repeatable, and what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from table_model import EOS, TableModel

from t5x import decoding
from t5x.errors import T5XError
from t5x.top_k import top_k

VOCAB = 5


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


def test_same_key_same_samples():
    draw = functools.partial(
        TableModel(0).decode, decoding.temperature_sample, num_decodes=20, topk=0
    )
    first, again = (draw(rng=jax.random.key(1))[0] for _ in range(2))
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
        TableModel(0).decode(decoding.temperature_sample, **settings)


@pytest.mark.parametrize("settings", [{"num_decodes": 0}, {"alpha": -0.1}])
def test_refuses_beams_that_make_no_sense(settings):
    with pytest.raises(T5XError, match=next(iter(settings))):
        decoding.beam_search(lambda t, c: (t, c), {}, batch_size=1, length=2, **settings)


class HistoryModel:
    """Its next token depends on all tokens so far, which its cache holds position by position."""

    def __init__(self, batch, beams, length):
        self.shape = (batch, beams, length)
        self.table = jax.random.normal(jax.random.key(0), (97, VOCAB)) * 2

    def cache(self):
        return {"tokens": jnp.zeros((self.shape[0] * self.shape[1], self.shape[2]), jnp.int32)}

    def in_own_rows(self, tokens, cache):
        """The cache moves with the beams."""
        held, position = cache
        written = held["tokens"].at[:, position].set(tokens + 1)
        return self._logits(written), ({"tokens": written}, position + 1)

    def by_ancestors(self, tokens, cache):
        """The cache stays, and each beam looks up who wrote its history."""
        held, position = cache.held
        written = held["tokens"].at[:, position].set(tokens + 1)
        by_beam = written.reshape(self.shape)
        history = jnp.take_along_axis(by_beam, cache.ancestors, axis=1).reshape(written.shape)
        is_past = jnp.arange(self.shape[2]) <= position
        return self._logits(history * is_past), cache.replace(
            held=({"tokens": written}, position + 1)
        )

    def _logits(self, history):
        primes = jnp.array([2, 3, 5, 7, 11, 13])[: self.shape[2]]
        row_of_example = jnp.repeat(jnp.arange(self.shape[0]), self.shape[1])
        return self.table[(history @ primes + 31 * row_of_example) % 97]


def test_beams_that_look_up_their_ancestors_find_what_beams_that_move_find():
    model = HistoryModel(6, 4, 6)
    search = functools.partial(decoding.beam_search, batch_size=6, length=6, num_decodes=4)
    start = (model.cache(), jnp.zeros((), jnp.int32))
    wanted = jax.jit(functools.partial(search, model.in_own_rows))(start)
    found = jax.jit(functools.partial(search, model.by_ancestors))(decoding.StationaryCache(start))
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert len(np.unique(wanted[0][:, :, 0])) > 1, "no beam ever left the first one's path"


@pytest.mark.parametrize(("size", "k"), [(1000, 1), (1000, 5), (385, 3), (384, 3), (128, 1)])
def test_top_k_by_blocks_is_top_k(size, k):
    """With many ties, and rows of which little or nothing is possible."""
    x = np.random.default_rng(0).integers(0, 4, (50, size)).astype(np.float32)
    x[40:] = np.where(np.arange(size) < np.arange(10)[:, None], x[40:], -np.inf)
    jax.tree.map(np.testing.assert_array_equal, top_k(x, k), tuple(jax.lax.top_k(x, k)))
