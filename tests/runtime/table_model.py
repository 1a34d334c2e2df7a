"""A toy language model whose every probability is known, and sums over all that it can say."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

EOS = 1

Tokens = tuple[int, ...]


class TableModel:
    """Next-token logits are random, and depend on the example and on all tokens so far.

    Each example of the batch is a model of its own, so that one batch tests many.

    Args:
        seed: Of the logits.
        batch: The number of examples.
        vocab: The number of tokens.
        length: The greatest number of tokens to generate.
        spread: Standard deviation of the logits; the greater, the surer the models.
        eos_id: The token that ends a sequence.
        dtype: Of the logits.
    """

    def __init__(
        self, seed, *, batch=3, vocab=5, length=4, spread=1.5, eos_id=EOS, dtype=jnp.float32
    ):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, spread, (batch, vocab**length, vocab))
        self.logits = jnp.asarray(logits, dtype)
        self.batch, self.vocab, self.length, self.eos_id = batch, vocab, length, eos_id
        exact = np.asarray(self.logits, np.float64)
        self.log_table = exact - np.log(np.exp(exact).sum(-1, keepdims=True))

    def initial_cache(self, num_decodes):
        """Per row a number that spells out the tokens so far, and its example; and a scalar."""
        return {
            "spelled": jnp.zeros(self.batch * num_decodes, jnp.int32),
            "example": jnp.repeat(jnp.arange(self.batch), num_decodes),
            "steps": jnp.zeros((), jnp.int32),
        }

    def step(self, tokens, cache):
        spelled = cache["spelled"] * self.vocab + tokens
        logits = self.logits[cache["example"], spelled]
        return logits, {**cache, "spelled": spelled}

    def decode(self, function, *, num_decodes=1, rng=None, **settings):
        """Runs a function of `t5x.decoding`, compiled; returns its tokens and scores."""
        decode = functools.partial(
            function, self.step, batch_size=self.batch, length=self.length,
            num_decodes=num_decodes, eos_id=self.eos_id, **settings,
        )  # fmt: skip
        tokens, scores = jax.jit(decode)(self.initial_cache(num_decodes), rng=rng)
        return np.asarray(tokens), np.asarray(scores)

    def log_probs(self, example, tokens):
        """Log probabilities `[vocab]` of the token after `tokens`, in float64."""
        spelled = functools.reduce(lambda number, token: number * self.vocab + token, tokens, 0)
        return self.log_table[example, spelled]

    def log_likelihood(self, example, tokens):
        return sum(self.log_probs(example, tokens[:i])[t] for i, t in enumerate(tokens))

    def all_sequences(self):
        """Every sequence: those that end within the length, and those that reach it without."""
        others = [token for token in range(self.vocab) if token != self.eos_id]
        for size in range(self.length):
            for start in itertools.product(others, repeat=size):
                yield (*start, self.eos_id)
        yield from itertools.product(others, repeat=self.length)

    def until_eos(self, row) -> Tokens:
        """A row of tokens without what follows its end; which must be padding."""
        tokens = tuple(int(token) for token in row)
        if self.eos_id not in tokens:
            return tokens
        end = tokens.index(self.eos_id) + 1
        assert not any(tokens[end:]), f"tokens after the end: {tokens}"
        return tokens[:end]
