"""The loss against float64 arithmetic written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import losses


def reference(logits, targets, smoothing, z):
    """Cross entropy against the smoothed one-hot distribution, less that one's entropy."""
    logits = np.asarray(logits, np.float64)
    vocab = logits.shape[-1]
    wanted = np.full(logits.shape, smoothing / (vocab - 1))
    np.put_along_axis(wanted, targets[..., None], 1 - smoothing, axis=-1)
    top = logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
    log_probs = logits - log_z[..., None]
    entropy = -np.sum(np.where(wanted > 0, wanted * np.log(np.maximum(wanted, 1e-300)), 0.0), -1)
    return -(wanted * log_probs).sum(-1) - entropy, z * log_z**2


@pytest.fixture
def case():
    rng = np.random.default_rng(1)
    return rng.normal(0, 8, (3, 5, 11)).astype(np.float32), rng.integers(0, 11, (3, 5))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("z", [0.0, 1e-2])
def test_matches_float64(case, smoothing, z):
    logits, targets = case
    actual = losses.cross_entropy(logits, targets, label_smoothing=smoothing, z_loss=z)
    for got, wanted in zip(actual, reference(logits, targets, smoothing, z), strict=True):
        assert got.shape == (3, 5) and got.dtype == jnp.float32
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


def test_gradient_matches_float64_differences(case):
    logits, targets = case

    def total(x):
        return sum(map(jnp.sum, losses.cross_entropy(x, targets, label_smoothing=0.1, z_loss=0.01)))

    gradient = jax.grad(total)(logits)
    for index in [(0, 0, 0), (1, 2, targets[1, 2]), (2, 4, 10)]:
        moved = []
        for step in (1e-5, -1e-5):
            other = logits.astype(np.float64)
            other[index] += step
            moved.append(sum(map(np.sum, reference(other, targets, 0.1, 0.01))))
        np.testing.assert_allclose(
            gradient[index], (moved[0] - moved[1]) / 2e-5, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_predicting_the_wanted_distribution_costs_nothing(smoothing):
    wanted = np.full(7, max(smoothing / 6, 1e-30))
    wanted[3] = 1 - smoothing
    loss, _ = losses.cross_entropy(np.log(wanted), jnp.array(3), label_smoothing=smoothing)
    assert abs(loss) < 1e-6


def test_huge_logits_stay_finite():
    logits = jnp.array([[1e4, -1e4, 0.0], [3e4, 3e4, 3e4]])
    targets = jnp.array([0, 1])

    def total(x):
        return sum(map(jnp.sum, losses.cross_entropy(x, targets, z_loss=1e-4)))

    loss, gradient = jax.value_and_grad(total)(logits)
    assert np.isfinite(loss) and np.all(np.isfinite(gradient))


def test_bfloat16_logits_are_summed_in_float32():
    logits = jnp.zeros((1, 1000), jnp.bfloat16)
    loss, _ = losses.cross_entropy(logits, jnp.array([0]))
    np.testing.assert_allclose(loss, np.log(1000), rtol=1e-6)
