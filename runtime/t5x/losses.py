"""Cross entropy over a vocabulary, with label smoothing and z-loss, in T5X's conventions."""

import math

import jax
import jax.numpy as jnp


def cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Computes two terms of the loss of each token, whose sum is what training minimizes.

    With smoothing s over V tokens, the wanted distribution gives 1 - s to the target and
    s / (V - 1) to every other token. Its entropy is subtracted, so that predicting exactly that
    distribution costs 0 whatever s is.

    Args:
        logits: `[..., vocab]`, computed with in float32.
        targets: `[...]` integers, the indices of the right tokens.
        label_smoothing: s, at least 0 and less than 1.
        z_loss: Coefficient of log(Z)^2, with Z the sum of exponentials that softmax divides by.

    Returns:
        The cross entropy and the z-loss, each `[...]` float32.
    """
    logits = logits.astype(jnp.float32)
    log_z = jax.nn.logsumexp(logits, axis=-1)
    # A masked sum rather than a gather: it stays local where the vocabulary is sharded.
    is_target = jnp.arange(logits.shape[-1]) == targets[..., None]
    log_likelihood = jnp.sum(jnp.where(is_target, logits, 0.0), axis=-1) - log_z
    z_term = z_loss * jnp.square(log_z)
    if not label_smoothing:
        return -log_likelihood, z_term

    vocab_size = logits.shape[-1]
    confidence, rest = 1.0 - label_smoothing, label_smoothing / (vocab_size - 1)
    entropy = -(confidence * math.log(confidence) + label_smoothing * math.log(rest))
    sum_of_all = jnp.sum(logits, axis=-1) - vocab_size * log_z
    smoothed = -(confidence - rest) * log_likelihood - rest * sum_of_all
    return smoothed - entropy, z_term
