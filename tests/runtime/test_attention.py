"""Attention in parts against attention at once, and that against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x.examples.t5 import attention, cached

BATCH, QUERIES, HEADS, HEAD_DIM = 2, 7, 3, 4


def inputs(num_keys=QUERIES, dtype=np.float32):
    rng = np.random.default_rng(0)
    query = rng.normal(size=(BATCH, QUERIES, HEADS, HEAD_DIM))
    key, value = rng.normal(size=(2, BATCH, num_keys, HEADS, HEAD_DIM))
    by_distance = rng.normal(size=(HEADS, QUERIES + num_keys - 1))
    return [x.astype(dtype) for x in (query, key, value, by_distance)]


def sight(num_keys=QUERIES, causal=False):
    """Two packed examples and padding; no query of the last row sees anything."""
    key_segments = np.searchsorted([num_keys // 2, num_keys - 2], np.arange(num_keys), "right") + 1
    query_segments = np.searchsorted([QUERIES // 2], np.arange(QUERIES), "right") + 1
    is_token = np.stack([key_segments < 3, np.zeros(num_keys, bool)])
    both = [np.stack([segments] * BATCH) for segments in (query_segments, key_segments)]
    return attention.Sight(is_token, *both, causal=causal)


def test_each_pair_has_the_bias_of_its_distance():
    by_distance = np.arange(2 * 9).reshape(2, 9)
    for queries in (1, 3, 9):
        keys = 10 - queries
        bias = attention.bias_of_rows(by_distance, queries)
        distance = np.arange(keys) - np.arange(queries)[:, None]
        np.testing.assert_array_equal(bias, by_distance[:, distance + queries - 1][None])


@pytest.mark.parametrize("causal", [False, True])
def test_at_once_is_the_softmax_of_what_is_seen(causal):
    query, key, value, by_distance = inputs(dtype=np.float64)
    mask = np.asarray(sight(causal=causal).mask(np.arange(QUERIES)))
    bias = np.asarray(attention.bias_of_rows(by_distance, QUERIES), np.float64)
    logits = np.where(mask, np.einsum("bqhd,bkhd->bhqk", query, key) + bias, -1e30)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    wanted = np.einsum("bhqk,bkhd->bqhd", shares, value)
    actual = attention.at_once(*inputs()[:3], mask, bias.astype(np.float32))
    np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("num_keys", "causal", "has_bias"),
    [(QUERIES, True, True), (12, False, True), (5, False, False)],
)
def test_in_parts_is_the_same_and_so_are_its_gradients(monkeypatch, num_keys, causal, has_bias):
    monkeypatch.setattr(attention, "_QUERIES_AT_A_TIME", 3)
    seen = sight(num_keys, causal)
    *arrays, by_distance = inputs(num_keys)
    direction = np.random.default_rng(1).normal(size=arrays[0].shape)

    def at_once(query, key, value, by_distance):
        bias = attention.bias_of_rows(by_distance, QUERIES) if has_bias else None
        return attention.at_once(query, key, value, seen.mask(jnp.arange(QUERIES)), bias)

    def in_parts(query, key, value, by_distance):
        return attention.in_parts(query, key, value, seen, by_distance if has_bias else None)

    def with_gradients(attend):
        def product(*args):
            mixed = attend(*args)
            return jnp.sum(mixed * direction), mixed

        return jax.jit(jax.grad(product, argnums=(0, 1, 2, 3), has_aux=True))(*arrays, by_distance)

    for one, other in zip(
        jax.tree.leaves(with_gradients(in_parts)),
        jax.tree.leaves(with_gradients(at_once)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_training_in_parts_is_the_same(monkeypatch, tiny_model, tiny_params, tiny_batch):
    """Loss and gradients of a whole model, with dropout: masks are drawn once for all parts."""

    def loss_and_gradients():
        grad = jax.jit(lambda p: jax.grad(tiny_model.loss_fn, has_aux=True)(p, batch, key))
        return grad(tiny_params)

    key, batch = jax.random.key(0), tiny_batch
    at_once = loss_and_gradients()
    monkeypatch.setattr(attention, "MOST_KEYS_AT_ONCE", 4)
    monkeypatch.setattr(attention, "_QUERIES_AT_A_TIME", 5)
    for one, other in zip(
        jax.tree.leaves(loss_and_gradients()), jax.tree.leaves(at_once), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_no_array_grows_with_the_square_of_the_length(monkeypatch):
    monkeypatch.setattr(attention, "_QUERIES_AT_A_TIME", 8)
    length = 256
    query = jax.ShapeDtypeStruct((1, length, 1, 4), jnp.float32)
    seen = attention.Sight(jnp.ones((1, length), bool), None, None)
    by_distance = jax.ShapeDtypeStruct((1, 2 * length - 1), jnp.float32)

    def total(query, by_distance):
        return jnp.sum(attention.in_parts(query, query, query, seen, by_distance))

    program = jax.jit(jax.grad(total, argnums=(0, 1))).trace(query, by_distance).lower().compile()
    analysis = program.memory_analysis()
    assert analysis is not None
    assert analysis.temp_size_in_bytes < 4 * length * length


def test_logits_in_float32_are_more_exact_where_bfloat16_is_multiplied(monkeypatch):
    monkeypatch.setattr(cached, "product_dtype", lambda dtype: dtype)
    query, key, value, _ = (jnp.asarray(x) for x in inputs())
    mask = jnp.ones((1, 1, 1, QUERIES), bool)
    rounded = [(8 * x).astype(jnp.bfloat16) for x in (query, key)]
    floats = [x.astype(jnp.float32) for x in rounded]
    exact = attention.at_once(*floats, value, mask, None)
    error = [
        np.abs(attention.at_once(*pair, value, mask, None) - exact).mean()
        for pair in (floats, rounded)
    ]
    assert error[0] == 0 < error[1]
