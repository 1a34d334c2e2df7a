"""Attention of whole sequences, as training needs it: all at once, or a few queries at a time.

What queries may see, and the bias of their distances, is made once for a stack of layers. For long
sequences it is kept in a form that grows with the length and not with its square, and each part
of the queries gets its own rows of it, again in the backward pass: no array of the size `[batch,
heads, queries, keys]` or `[queries, keys]` is ever there.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from t5x.examples.t5 import cached

# Above this number of keys, queries are taken a few at a time.
MOST_KEYS_AT_ONCE = 2048
_QUERIES_AT_A_TIME = 256


@flax.struct.dataclass
class Sight:
    """Which keys each query may see.

    Attributes:
        is_token: `[batch, keys]` booleans, False for padding, which nobody sees.
        query_segments: `[batch, queries]` integers: packed examples don't see each other. None if
            there are none.
        key_segments: Likewise for `[batch, keys]`.
        causal: Whether a query sees only keys at its own position and before.
    """

    is_token: jax.Array
    query_segments: jax.Array | None
    key_segments: jax.Array | None
    causal: bool = flax.struct.field(pytree_node=False, default=False)

    def mask(self, query_positions: jax.Array | None = None) -> jax.Array:
        """Returns booleans that broadcast to `[batch, heads, queries, keys]`.

        Args:
            query_positions: `[queries]`, where the queries that it has segments of begin counting;
                needed if it is causal.
        """
        mask = self.is_token[:, None, None, :]
        if self.query_segments is not None and self.key_segments is not None:
            same = self.query_segments[:, :, None] == self.key_segments[:, None, :]
            mask = mask & same[:, None]
        if self.causal and query_positions is not None:
            mask = mask & (query_positions[:, None] >= jnp.arange(self.is_token.shape[1]))
        return mask


def bias_of_rows(by_distance: jax.Array, num_queries: int) -> jax.Array:
    """Lays out a bias by distance for each pair of a query and a key.

    Args:
        by_distance: `[heads, queries + keys - 1]`: for key position minus query position, from
            1 - queries to keys - 1.
        num_queries: queries.

    Returns:
        `[1, heads, queries, keys]`. Its gradient adds up diagonals, without a scatter.
    """
    heads, num_distances = by_distance.shape
    num_keys = num_distances + 1 - num_queries
    # Each row is the one above it, moved one to the right: copies of all distances in a row, read
    # in steps of one less than they are.
    row = jnp.pad(by_distance, ((0, 0), (0, 1)))
    rows = jnp.broadcast_to(row[:, None], (heads, num_queries, num_distances + 1))
    start = num_queries - 1
    flat = rows.reshape(heads, -1)[:, start : start + num_queries * num_distances]
    return flat.reshape(heads, num_queries, num_distances)[None, :, :, :num_keys]


def at_once(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    bias: jax.Array | None,
) -> jax.Array:
    """Lets all queries attend to all keys.

    Args:
        query: `[batch, queries, heads, head_dim]`.
        key: `[batch, keys, heads, head_dim]`.
        value: Likewise.
        mask: Booleans that broadcast to `[batch, heads, queries, keys]`; False hides a key.
        bias: Added to the logits, broadcast likewise.

    Returns:
        `[batch, queries, heads, head_dim]` with the dtype of `value`.
    """
    dtype = value.dtype
    query, key, value = (x.astype(cached.product_dtype(x.dtype)) for x in (query, key, value))
    logits = jnp.einsum("bqhd,bkhd->bhqk", query, key)
    if bias is not None:
        logits += bias.astype(logits.dtype)
    # Half the lowest number: hidden keys get exactly 0, and a row that hides all keys no NaN.
    logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min / 2).astype(jnp.float32)
    # The softmax is divided by its sum after the product with the values, which are fewer; the
    # gradient then needs no sums over keys either.
    shares = jnp.exp(logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True)))
    total = shares.sum(axis=-1).swapaxes(1, 2)[..., None]
    mixed = jnp.einsum("bhqk,bkhd->bqhd", shares.astype(value.dtype), value)
    return (mixed / total).astype(dtype)


def in_parts(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    sight: Sight,
    by_distance: jax.Array | None,
) -> jax.Array:
    """Does as `at_once` does, for a few queries after the other.

    Args:
        query: `[batch, queries, heads, head_dim]`.
        key: `[batch, keys, heads, head_dim]`.
        value: Likewise.
        sight: What becomes the mask of each part.
        by_distance: What becomes the bias of each part, see `bias_of_rows`; None is no bias.

    Returns:
        As `at_once`.
    """
    num_queries, num_keys = query.shape[1], key.shape[1]
    size = min(_QUERIES_AT_A_TIME, num_queries)
    starts = jnp.arange(0, num_queries, size)
    missing = len(starts) * size - num_queries

    def cut(x: jax.Array) -> jax.Array:
        """`[batch, queries, ...]` to `[parts, batch, size, ...]`."""
        x = jnp.pad(x, [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)])
        return x.reshape(x.shape[0], len(starts), size, *x.shape[2:]).swapaxes(0, 1)

    if by_distance is not None:
        by_distance = jnp.pad(by_distance, ((0, 0), (missing, 0)))

    def attend(part: tuple[jax.Array, ...]) -> jax.Array:
        start, some, segments = part
        seen = sight.replace(query_segments=segments)  # type: ignore[attr-defined]
        bias = None
        if by_distance is not None:
            # The part's last query has the most keys before it.
            first = num_queries + missing - size - start
            near = jax.lax.dynamic_slice_in_dim(by_distance, first, size + num_keys - 1, axis=1)
            bias = bias_of_rows(near, size)
        return at_once(some, key, value, seen.mask(start + jnp.arange(size)), bias)

    parts: tuple[Any, ...] = (starts, cut(query), jax.tree.map(cut, sight.query_segments))
    mixed = jax.lax.map(jax.checkpoint(attend, prevent_cse=False), parts)
    mixed = mixed.swapaxes(0, 1).reshape(query.shape[0], -1, *query.shape[2:])
    return mixed[:, :num_queries]
