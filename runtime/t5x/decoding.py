"""Ways to turn next-token logits into sequences: greedy, sampling, beam search.

All work on a step function `tokens_to_logits(tokens, cache) -> (logits, cache)`, where `tokens`
`[rows]` are the newest tokens, `logits` are `[rows, vocab]` and `cache` is any tree of arrays,
`[rows, ...]` or scalar. Example b's d-th decode is row b * num_decodes + d. The first token given
is 0. Everything but the step and its cache is static, so each function can run under `jax.jit`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp

from t5x.errors import T5XError
from t5x.top_k import top_k

Cache = Any
TokensToLogits = Callable[[jax.Array, Cache], tuple[jax.Array, Cache]]

EOS_ID = 1
PAD_ID = 0
IMPOSSIBLE = -jnp.inf  # The score of a sequence that does not exist.
COLDEST = 1e-4  # Lower temperatures count as 0: logits divided by them could overflow.


@flax.struct.dataclass
class StationaryCache:
    """A cache whose rows stay where they are when beams change places.

    The step function that is given one with `ancestors` must look up there whose row it has to read
    for which position; and it writes to each sequence's own row, as ever.

    Attributes:
        held: Any tree of arrays.
        ancestors: `[batch, beams, length]` int32, set by `beam_search`: which beam's row holds what
            each live sequence's token at each position, this step's included, has left. None if
            every sequence has always been in its own row.
    """

    held: Any
    ancestors: jax.Array | None = None


class _Samples(NamedTuple):
    """What the sampling loop carries; `rows` is batch_size * num_decodes."""

    position: jax.Array  # [] int32
    cache: Cache
    tokens: jax.Array  # [rows, length] int32
    newest: jax.Array  # [rows] int32
    ended: jax.Array  # [rows] bool
    scores: jax.Array  # [rows] float32


def temperature_sample(
    tokens_to_logits: TokensToLogits,
    cache: Cache,
    *,
    batch_size: int,
    length: int,
    rng: jax.Array | None = None,
    num_decodes: int = 1,
    eos_id: int = EOS_ID,
    temperature: float = 1.0,
    topk: int = 1,
    topp: float = 0.0,
    rescale_log_probs: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Draws each token from the model's distribution; greedy as it stands.

    Args:
        tokens_to_logits: The step function.
        cache: Its cache before the first step.
        batch_size: The number of examples.
        length: The greatest number of tokens to generate.
        rng: A JAX random key; not needed for greedy decoding.
        num_decodes: Sequences to draw for each example.
        eos_id: The token that ends a sequence.
        temperature: Divides the logits; 0 always takes the likeliest token.
        topk: Draw from the k likeliest tokens only, and those as likely as the k-th; 1 is greedy,
            0 is no limit.
        topp: Draw from the fewest tokens that have this probability together at this temperature,
            and those as likely as the last of them; 0 is no limit.
        rescale_log_probs: Whether scores are of the distribution that is drawn from, as T5X's are:
            0 if greedy. If not, they are of the model's own, before temperature and limits.

    Returns:
        Tokens `[batch, num_decodes, length]` int32, with 0 after the end, and scores
        `[batch, num_decodes]` float32, ascending: the log likelihood of each sequence.

    Raises:
        T5XError: Arguments contradict each other, or `rng` is missing.
    """
    choose = _chooser(rng, temperature, topk, topp)

    def step(state: _Samples) -> _Samples:
        logits, cache = tokens_to_logits(state.newest, state.cache)
        logits = logits.astype(jnp.float32)
        drawn, limited = choose(state.position, logits)
        gains = _log_likelihood(limited if rescale_log_probs else logits, drawn)
        return _append(state._replace(cache=cache), drawn, gains, eos_id)

    final = jax.lax.while_loop(
        lambda state: (state.position < length) & ~jnp.all(state.ended),
        step,
        _no_samples(cache, batch_size * num_decodes, length),
    )
    return _ascending(
        final.tokens.reshape(batch_size, num_decodes, length),
        final.scores.reshape(batch_size, num_decodes),
    )


def _no_samples(cache: Cache, rows: int, length: int) -> _Samples:
    return _Samples(
        position=jnp.zeros((), jnp.int32),
        cache=cache,
        tokens=jnp.full((rows, length), PAD_ID, jnp.int32),
        newest=jnp.full(rows, PAD_ID, jnp.int32),
        ended=jnp.zeros(rows, bool),
        scores=jnp.zeros(rows, jnp.float32),
    )


def _log_likelihood(logits: jax.Array | None, tokens: jax.Array) -> jax.Array:
    """The log probabilities `[rows]` of tokens by logits `[rows, vocab]`; 0 if those are None."""
    if logits is None:
        return jnp.zeros(tokens.shape, jnp.float32)
    of_tokens = jnp.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    return of_tokens - jax.nn.logsumexp(logits, axis=-1)


def _append(state: _Samples, drawn: jax.Array, gains: jax.Array, eos_id: int) -> _Samples:
    """Adds the drawn tokens `[rows]` and their scores to the sequences that have not ended."""
    newest = jnp.where(state.ended, PAD_ID, drawn).astype(jnp.int32)
    return state._replace(
        position=state.position + 1,
        tokens=state.tokens.at[:, state.position].set(newest),
        newest=newest,
        ended=state.ended | (newest == eos_id),
        scores=state.scores + jnp.where(state.ended, 0.0, gains),
    )


def _chooser(
    rng: jax.Array | None, temperature: float, topk: int, topp: float
) -> Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array | None]]:
    """Returns what picks a token per row, given the position [] and logits `[rows, vocab]`.

    It returns the tokens `[rows]`, and the logits they are drawn by, None if nothing is drawn.
    """
    _check_sampling(temperature, topk, topp)
    if temperature < COLDEST or topk == 1:
        return lambda position, logits: (top_k(logits, 1)[1][:, 0], None)
    if rng is None:
        raise T5XError(
            "no random key was given to sample with",
            where="decoding.temperature_sample",
            remedy="Pass rng, or decode greedily with temperature=0.",
        )

    def draw(position: jax.Array, logits: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = logits / temperature
        if topk:
            weakest = jax.lax.top_k(logits, min(topk, logits.shape[-1]))[0][:, -1:]
            logits = jnp.where(logits < weakest, -jnp.inf, logits)
        if topp:
            logits = _keep_nucleus(logits, topp)
        return jax.random.categorical(jax.random.fold_in(rng, position), logits), logits

    return draw


def _keep_nucleus(logits: jax.Array, topp: float) -> jax.Array:
    """Hides all but the fewest likeliest tokens that have probability `topp` together."""
    descending = -jnp.sort(-logits, axis=-1)
    probabilities = jax.nn.softmax(descending)
    before = jnp.cumsum(probabilities, axis=-1) - probabilities
    weakest = jnp.min(jnp.where(before < topp, descending, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(logits < weakest, -jnp.inf, logits)


def _check_sampling(temperature: float, topk: int, topp: float) -> None:
    def refuse(what: str, remedy: str) -> None:
        raise T5XError(what, where="decoding.temperature_sample", remedy=remedy)

    if temperature < 0:
        refuse(f"temperature is {temperature}", "Use 0 (greedy) or a positive number.")
    if topk < 0:
        refuse(f"topk is {topk}", "Use 0 (no limit) or a positive number.")
    if not 0 <= topp <= 1:
        refuse(f"topp is {topp}", "Use a probability, or 0 for no limit.")
    if topp and topk:
        refuse(f"topp={topp} and topk={topk} are both set", "Set topk=0 to use topp.")


class _Beams(NamedTuple):
    """What the beam search loop carries; sequences are `[batch, beams, length]` int32.

    Beams of an example are ordered best first. Slots still free score `IMPOSSIBLE`.
    """

    position: jax.Array  # [] int32
    cache: Cache
    live_tokens: jax.Array
    live_scores: jax.Array  # [batch, beams] float32, log likelihoods
    finished_tokens: jax.Array
    finished_scores: jax.Array  # [batch, beams] float32, divided by the brevity penalty


def beam_search(
    tokens_to_logits: TokensToLogits,
    cache: Cache,
    *,
    batch_size: int,
    length: int,
    rng: jax.Array | None = None,
    num_decodes: int = 4,
    eos_id: int = EOS_ID,
    alpha: float = 0.6,
) -> tuple[jax.Array, jax.Array]:
    """Looks for the sequences of greatest score among the best beginnings.

    The score of a sequence is its log likelihood divided by ((5 + its length) / 6) ** alpha
    (https://arxiv.org/abs/1609.08144, equation 14), its end included. As in T5X, each step looks
    at the best 2 * `num_decodes` continuations: those that end compete to be returned, and the
    best `num_decodes` others go on. So even one beam is not greedy decoding: a sequence may win
    whose end was second best when it came. The search stops as soon as no beginning can beat the
    sequences found, for any example.

    Args:
        tokens_to_logits: The step function.
        cache: Its cache before the first step.
        batch_size: The number of examples.
        length: The greatest number of tokens to generate.
        rng: Not used: nothing is random here.
        num_decodes: The number of beams, and of sequences returned for each example.
        eos_id: The token that ends a sequence.
        alpha: Exponent of the brevity penalty; the greater, the longer the outputs.

    Returns:
        Tokens `[batch, num_decodes, length]` int32, with 0 after the end, and scores
        `[batch, num_decodes]` float32, the best last. Where fewer than `num_decodes` have ended,
        the others reached `length` without EOS: these come first, and score their plain log
        likelihood, -inf if they do not exist.

    Raises:
        T5XError: `num_decodes` is not positive, or `alpha` is negative.
    """
    del rng
    _check_beams(num_decodes, alpha)
    find_best = functools.partial(_next_beams, eos_id=eos_id, alpha=alpha)

    def step(state: _Beams) -> _Beams:
        newest = _newest_tokens(state)
        cache = _in_own_rows(state.cache, state.position)
        logits, cache = tokens_to_logits(newest.reshape(-1), cache)
        log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
        return find_best(state, log_probs.reshape(*newest.shape, -1), cache)

    def may_improve(state: _Beams) -> jax.Array:
        # A live score only falls, and is divided by no more than the penalty of full length.
        best_possible = state.live_scores[:, 0] / _brevity_penalty(alpha, length)
        return (state.position < length) & jnp.any(best_possible > state.finished_scores[:, -1])

    start = _first_beams(cache, batch_size, num_decodes, length)
    final = jax.lax.while_loop(may_improve, step, start)
    return _with_unfinished(final)


def _check_beams(num_decodes: int, alpha: float) -> None:
    if num_decodes < 1:
        raise T5XError(
            f"num_decodes is {num_decodes}",
            where="decoding.beam_search",
            remedy="Use a positive number of beams.",
        )
    if alpha < 0:
        raise T5XError(
            f"alpha is {alpha}",
            where="decoding.beam_search",
            remedy="Use 0 (no brevity penalty) or a positive number.",
        )


def _first_beams(cache: Cache, batch_size: int, num_decodes: int, length: int) -> _Beams:
    empty = jnp.full((batch_size, num_decodes, length), PAD_ID, jnp.int32)
    # All beams start alike, so that only one may live: the others would find the same.
    only_first = jnp.where(jnp.arange(num_decodes) == 0, 0.0, IMPOSSIBLE)
    if isinstance(cache, StationaryCache) and num_decodes > 1:
        cache = dataclasses.replace(cache, ancestors=jnp.zeros_like(empty))
    return _Beams(
        position=jnp.zeros((), jnp.int32),
        cache=cache,
        live_tokens=empty,
        live_scores=jnp.tile(only_first, (batch_size, 1)),
        finished_tokens=empty,
        finished_scores=jnp.full((batch_size, num_decodes), IMPOSSIBLE),
    )


def _newest_tokens(state: _Beams) -> jax.Array:
    """Returns the last token of each live sequence, `[batch, beams]`."""
    previous = jnp.maximum(state.position - 1, 0)
    tokens = jax.lax.dynamic_index_in_dim(state.live_tokens, previous, axis=2, keepdims=False)
    return jnp.where(state.position == 0, PAD_ID, tokens)


def _next_beams(
    state: _Beams, log_probs: jax.Array, cache: Cache, *, eos_id: int, alpha: float
) -> _Beams:
    """Continues live sequences by one token, given `log_probs` `[batch, beams, vocab]`."""
    batch, beams, vocab = log_probs.shape
    # Twice as many as beams: however many end (one per beam at most), enough are left to go on.
    candidates = (state.live_scores[:, :, None] + log_probs).reshape(batch, beams * vocab)
    scores, choice = top_k(candidates, min(2 * beams, beams * vocab))
    parents, newest = choice // vocab, choice % vocab
    tokens = _gather(state.live_tokens, parents).at[:, :, state.position].set(newest)
    ends = newest == eos_id

    length = state.position + 1
    ended_scores = jnp.where(ends, scores / _brevity_penalty(alpha, length), IMPOSSIBLE)
    finished_scores, best = jax.lax.top_k(
        jnp.concatenate([state.finished_scores, ended_scores], axis=1), beams
    )
    finished = jnp.concatenate([state.finished_tokens, tokens], axis=1)

    live_scores, alive = jax.lax.top_k(jnp.where(ends, IMPOSSIBLE, scores), beams)
    return _Beams(
        position=length,
        cache=_reorder(cache, jnp.take_along_axis(parents, alive, axis=1)),
        live_tokens=_gather(tokens, alive),
        live_scores=live_scores,
        finished_tokens=_gather(finished, best),
        finished_scores=finished_scores,
    )


def _with_unfinished(state: _Beams) -> tuple[jax.Array, jax.Array]:
    """Fills slots that no sequence finished in with live ones; returns tokens and scores."""
    beams = state.live_scores.shape[1]
    tokens = jnp.concatenate([state.finished_tokens, state.live_tokens], axis=1)
    scores = jnp.concatenate([state.finished_scores, state.live_scores], axis=1)
    num_finished = jnp.sum(state.finished_scores > IMPOSSIBLE, axis=1, keepdims=True)
    slot = jnp.arange(beams)[::-1]
    order = jnp.where(slot < num_finished, slot, beams + slot - num_finished)
    return _gather(tokens, order), _gather(scores, order)


def _brevity_penalty(alpha: float, length: jax.Array | int) -> jax.Array:
    return jnp.power((5.0 + length) / 6.0, alpha)


def _in_own_rows(cache: Cache, position: jax.Array) -> Cache:
    """Notes that the tokens at `position` go to the sequences' own rows."""
    if not isinstance(cache, StationaryCache) or cache.ancestors is None:
        return cache
    own = jnp.arange(cache.ancestors.shape[1])
    return dataclasses.replace(cache, ancestors=cache.ancestors.at[:, :, position].set(own))


def _reorder(cache: Cache, parents: jax.Array) -> Cache:
    """Gives each live sequence the cache of the one it continues, by `parents`."""
    batch, beams = parents.shape
    if beams == 1:
        return cache
    if isinstance(cache, StationaryCache) and cache.ancestors is not None:
        return dataclasses.replace(cache, ancestors=_gather(cache.ancestors, parents))
    rows = (jnp.arange(batch)[:, None] * beams + parents).reshape(-1)
    return jax.tree.map(lambda x: jnp.take(x, rows, axis=0) if x.ndim else x, cache)


def _gather(x: jax.Array, indices: jax.Array) -> jax.Array:
    """Picks `indices` `[batch, n]` along axis 1 of `[batch, m, ...]`."""
    return jax.vmap(lambda row, picked: row[picked])(x, indices)


def _ascending(tokens: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    order = jnp.argsort(scores, axis=1)
    return _gather(tokens, order), _gather(scores, order)
