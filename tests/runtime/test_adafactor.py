"""Adafactor against optax's own, and against the paper's algorithm in float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5x import adafactor
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.models import EncoderDecoderModel

SHAPES = {"wide": (128, 160), "tall": (192, 128), "square": (128, 128), "thin": (4, 32), "v": (9,)}


@pytest.fixture
def problem():
    rng = np.random.default_rng(2)
    params = {k: rng.normal(0, 0.3, s).astype(np.float32) for k, s in SHAPES.items()}
    params["v"] *= 0.0  # Its scale is below epsilon2.
    gradients = [
        {k: (rng.normal(0, 10.0**-i, s)).astype(np.float32) for k, s in SHAPES.items()}
        for i in range(4)
    ]
    return params, gradients


def descend(optimizer, params, gradients, learning_rate=0.01):
    transformation = optimizer.transformation()
    state = transformation.init(params)
    for gradient in gradients:
        direction, state = transformation.update(gradient, state, params)
        params = jax.tree.map(lambda p, d: p - learning_rate * d, params, direction)
    return params


def reference(params, gradients, *, decay_rate=0.8, step_offset=0, clip=1.0, scale=True):
    """T5X's update rule, in float64, with a learning rate of 0.01."""
    params = {k: p.astype(np.float64) for k, p in params.items()}
    moments = {k: [np.zeros(p.shape[:1]), np.zeros(p.shape[1:])] for k, p in params.items()}
    full = {k: np.zeros(p.shape) for k, p in params.items()}
    for step, gradient in enumerate(gradients):
        keep = 1 - (step - step_offset + 1.0) ** -decay_rate
        for name, param in params.items():
            g = gradient[name].astype(np.float64)
            square = g**2 + 1e-30
            if param.ndim == 2 and min(param.shape) >= 128:
                rows, columns = moments[name]
                rows[:] = keep * rows + (1 - keep) * square.mean(1)
                columns[:] = keep * columns + (1 - keep) * square.mean(0)
                estimate = np.outer(rows, columns) / rows.mean()
            else:
                full[name] = estimate = keep * full[name] + (1 - keep) * square
            y = g / np.sqrt(estimate)
            if clip is not None:
                y /= max(1.0, np.sqrt(np.mean(y**2)) / clip)
            if scale:
                y *= max(1e-3, np.sqrt(np.mean(param**2)))
            params[name] = param - 0.01 * y
    return params


def assert_close(actual, wanted, tolerance=1e-4):
    for name in SHAPES:
        np.testing.assert_allclose(
            actual[name], wanted[name], rtol=tolerance, atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({}, {}),
        ({"decay_rate": 0.5, "step_offset": -3}, {"decay_rate": 0.5, "step_offset": -3}),
        ({"clipping_threshold": None}, {"clip": None}),
        ({"clipping_threshold": 0.25}, {"clip": 0.25}),
        ({"multiply_by_parameter_scale": False}, {"scale": False}),
    ],
)
def test_matches_the_algorithm(problem, settings, facts):
    params, gradients = problem
    assert_close(
        descend(adafactor.Adafactor(**settings), params, gradients),
        reference(params, gradients, **facts),
    )


def test_matches_optax(problem):
    params, gradients = problem
    actual = descend(adafactor.Adafactor(), params, gradients)
    wanted, optimizer = params, optax.adafactor(0.01)
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, wanted)
        wanted = optax.apply_updates(wanted, updates)
    assert_close(actual, wanted, tolerance=1e-6)


def test_clips_the_gradient_of_all_parameters_together(problem):
    params, gradients = problem
    norms = [float(optax.global_norm(g)) for g in gradients]
    limit = norms[1]  # The first gradient is larger, the last two are smaller.
    clipped = [
        jax.tree.map(lambda x, n=norm: x * min(1.0, limit / n), g)
        for g, norm in zip(gradients, norms, strict=True)
    ]
    assert_close(
        descend(adafactor.Adafactor(global_norm_clip_threshold=limit), params, gradients),
        reference(params, clipped),
    )


def test_state_of_t5_is_factored_as_in_t5x():
    """Every matrix of T5 1.1 small but the relative position biases, and no vector."""
    config = network.T5Config(
        vocab_size=256, emb_dim=512, num_heads=6, head_dim=64, mlp_dim=1024,
        num_encoder_layers=1, num_decoder_layers=1, mlp_activations=("gelu", "linear"),
    )  # fmt: skip
    optimizer = adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())
    model = EncoderDecoderModel(network.Transformer(config), None, None, optimizer)
    shapes = {"encoder_input_tokens": (1, 2), "decoder_input_tokens": (1, 2)}
    variables = jax.eval_shape(lambda: model.initial_variables(jax.random.key(0), shapes)["params"])
    state = jax.eval_shape(optimizer.transformation().init, variables)
    moments = next(part for part in state if hasattr(part, "v_row"))
    full = jax.tree_util.tree_leaves_with_path(moments.v)
    for (path, param), (_, unfactored) in zip(
        jax.tree_util.tree_leaves_with_path(variables), full, strict=True
    ):
        name = jax.tree_util.keystr(path)
        kept_whole = "scale" in name or "rel_embedding" in name
        assert (unfactored.shape == param.shape) == kept_whole, name


def test_refuses_parameters_of_three_dimensions():
    transformation = adafactor.Adafactor().transformation()
    with pytest.raises(T5XError, match=r"mlp/kernel.*\(2, 3, 4\)"):
        transformation.init({"mlp": {"kernel": jnp.zeros((2, 3, 4))}})


def test_refuses_a_learning_rate_of_its_own():
    with pytest.raises(T5XError, match="learning_rate_fn"):
        adafactor.Adafactor(learning_rate=0.1)  # type: ignore[arg-type]


def test_refuses_unknown_factor_rules():
    with pytest.raises(T5XError, match=r"'rows'.*row, column"):
        adafactor.Adafactor(logical_factor_rules={"embed": "rows"})
