"""The learning-rate schedule against its published formulas, in NumPy."""

import numpy as np
import pytest

from t5x.errors import T5XError
from t5x.utils import create_learning_rate_scheduler

STEPS = [0, 1, 9, 10, 11, 250, 10_000]
WARMUP = 10
FORMULAS = {
    "constant": lambda s: 0.5,
    "constant * linear_warmup": lambda s: 0.5 * min(1, s / WARMUP),
    "constant * rsqrt_decay": lambda s: 0.5 / np.sqrt(max(s, WARMUP)),
    "constant*rsqrt_normalized_decay": lambda s: 0.5 * np.sqrt(WARMUP / max(s, WARMUP)),
    "constant * decay_every": lambda s: 0.5 * 0.9 ** (s // 100),
    "constant * cosine_decay": lambda s: (
        0.25 * (1 + np.cos(np.pi * (max(0, s - WARMUP) / 1000 % 1)))
    ),
    "linear_decay": lambda s: 0.5 * min(s / WARMUP, 1 + 0.9 * (WARMUP - s)),
}


@pytest.mark.parametrize("factors", FORMULAS)
def test_factors_follow_their_formulas(factors):
    schedule = create_learning_rate_scheduler(
        factors,
        0.5,
        warmup_steps=WARMUP,
        decay_factor=0.9,
        steps_per_decay=100,
        steps_per_cycle=1000,
    )
    expected = [max(FORMULAS[factors](step), 1e-8) for step in STEPS]
    np.testing.assert_allclose([schedule(step) for step in STEPS], expected, rtol=1e-5, atol=1e-7)


def test_step_offset_shifts_and_minimum_bounds():
    plain = create_learning_rate_scheduler("constant * linear_warmup", warmup_steps=10)
    shifted = create_learning_rate_scheduler(
        "constant * linear_warmup", warmup_steps=10, step_offset=100, min_learning_rate=0.2
    )
    assert shifted(107) == plain(7)
    assert shifted(50) == pytest.approx(0.2)


def test_unknown_factor_is_named():
    with pytest.raises(T5XError, match="linear_warmpu"):
        create_learning_rate_scheduler("constant * linear_warmpu")
