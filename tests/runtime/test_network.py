"""Properties of the Transformer: what it may look at, its parameters, its cache."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from t5x.errors import T5XError
from t5x.examples.t5 import attention, layers, network

SMALL: dict[str, Any] = {
    "vocab_size": 32128,
    "emb_dim": 512,
    "num_heads": 6,
    "num_encoder_layers": 8,
    "num_decoder_layers": 8,
    "head_dim": 64,
    "mlp_dim": 1024,
    "mlp_activations": ("gelu", "linear"),
}

PACKED = {
    "encoder_input_tokens": np.array([[5, 6, 7, 1, 8, 9, 10, 11, 1, 0, 0, 0]]),
    "encoder_segment_ids": np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 0]]),
    "decoder_input_tokens": np.array([[0, 12, 13, 0, 14, 15, 16, 0]]),
    "decoder_target_tokens": np.array([[12, 13, 1, 14, 15, 16, 1, 0]]),
    "decoder_segment_ids": np.array([[1, 1, 1, 2, 2, 2, 2, 0]]),
}


def shapes_of(config):
    tokens = jnp.ones((1, 4), jnp.int32)
    variables = jax.eval_shape(
        lambda rng: network.Transformer(config).init(
            rng, tokens, tokens, tokens, enable_dropout=False
        ),
        jax.random.key(0),
    )
    leaves = jax.tree_util.tree_leaves_with_path(nn.unbox(variables["params"]))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


@pytest.fixture(scope="module")
def apply(tiny_config, tiny_params):
    """Applies the tiny Transformer; `moved` is added to (encoder, decoder) input embeddings."""

    def apply(batch, moved=(0.0, 0.0), **kwargs):
        moves = iter(moved)

        def add_move(call, args, kwargs, context):
            output = call(*args, **kwargs)
            if isinstance(context.module, layers.Embedder) and context.method_name == "__call__":
                output = output + next(moves)
            return output

        def forward(batch):
            with nn.intercept_methods(add_move):
                return network.Transformer(tiny_config).apply(
                    {"params": tiny_params}, **batch, enable_dropout=False, **kwargs
                )

        return jax.jit(forward)(batch)

    return apply


def test_parameters_of_t5_1_1_small():
    shapes = shapes_of(network.T5Config(**SMALL))
    assert sum(math.prod(s.shape) for s in shapes.values()) == 76_961_152
    assert all(s.dtype == jnp.float32 for s in shapes.values())

    attention = {"query": (512, 384), "key": (512, 384), "value": (512, 384), "out": (384, 512)}
    mlp = {"wi_0": (512, 1024), "wi_1": (512, 1024), "wo": (1024, 512)}
    wanted = {
        "token_embedder/embedding": (32128, 512),
        "encoder/relpos_bias/rel_embedding": (6, 32),
        "decoder/relpos_bias/rel_embedding": (6, 32),
        "encoder/encoder_norm/scale": (512,),
        "decoder/decoder_norm/scale": (512,),
        "decoder/logits_dense/kernel": (512, 32128),
    }
    blocks = {
        "encoder": {"pre_attention_layer_norm": "attention", "pre_mlp_layer_norm": "mlp"},
        "decoder": {
            "pre_self_attention_layer_norm": "self_attention",
            "pre_cross_attention_layer_norm": "encoder_decoder_attention",
            "pre_mlp_layer_norm": "mlp",
        },
    }
    for stack, parts in blocks.items():
        for layer in range(8):
            for norm, block in parts.items():
                wanted[f"{stack}/layers_{layer}/{norm}/scale"] = (512,)
                for name, shape in (mlp if block == "mlp" else attention).items():
                    wanted[f"{stack}/layers_{layer}/{block}/{name}/kernel"] = shape
    assert {name: s.shape for name, s in shapes.items()} == wanted


def test_parameters_of_t5_1_0(tiny_config):
    """One activation, and the embedding for logits: no gate, no second projection."""
    shapes = shapes_of(tiny_config.replace(mlp_activations=("relu",), logits_via_embedding=True))
    assert "encoder/layers_0/mlp/wi/kernel" in shapes
    assert not any("wi_0" in name or "logits_dense" in name for name in shapes)


def test_logits_via_embedding_are_scaled_products(tiny_config):
    config = tiny_config.replace(logits_via_embedding=True, num_decoder_layers=0)
    module: Any = network.Transformer(config)
    tokens = jnp.array([[3, 4, 5]])
    variables = nn.unbox(module.init(jax.random.key(0), tokens, tokens, tokens))
    logits = module.apply(variables, tokens, tokens, tokens, enable_dropout=False)
    table = np.asarray(variables["params"]["token_embedder"]["embedding"], np.float64)
    x = table[np.asarray(tokens)]
    x /= np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(logits, x @ table.T / math.sqrt(config.emb_dim), rtol=1e-4)


def test_packed_examples_never_see_each_other(apply):
    """No gradient flows from one example's logits to another's inputs, on any path."""
    moved = (jnp.zeros((1, 12, 16)), jnp.zeros((1, 8, 16)))
    direction = np.random.default_rng(0).normal(size=(1, 8, 32))

    def output_of(segment, moved):
        own = PACKED["decoder_segment_ids"] == segment
        return jnp.sum(apply(PACKED, moved) * direction * own[..., None])

    for segment in (1, 2):
        encoder, decoder = jax.grad(lambda m, s=segment: output_of(s, m))(moved)
        for gradient, ids in (
            (encoder, PACKED["encoder_segment_ids"]),
            (decoder, PACKED["decoder_segment_ids"]),
        ):
            reached = np.any(gradient != 0, axis=-1)
            np.testing.assert_array_equal(reached, ids == segment)


def test_packed_examples_come_out_as_if_alone(apply):
    packed = apply(PACKED)
    for segment in (1, 2):
        alone = {}
        for side in ("encoder", "decoder"):
            own = PACKED[f"{side}_segment_ids"] == segment
            for name, tokens in PACKED.items():
                if name.startswith(side) and name.endswith("tokens"):
                    alone[name] = tokens[own][None]
        own = PACKED["decoder_segment_ids"] == segment
        np.testing.assert_allclose(packed[own], apply(alone)[0], rtol=1e-4, atol=1e-5)


def test_decoder_is_causal(apply, tiny_batch):
    batch = {k: v[:1] for k, v in tiny_batch.items() if k.endswith("tokens")}
    batch["decoder_target_tokens"] = np.full((1, 8), 5)
    direction = np.random.default_rng(0).normal(size=32)

    def logits_by_position(moved):
        return apply(batch, (0.0, moved))[0] @ direction

    jacobian = jax.jacobian(logits_by_position)(jnp.zeros((1, 8, 16)))[:, 0]
    reached = np.any(jacobian != 0, axis=-1)
    np.testing.assert_array_equal(reached, np.tril(np.ones((8, 8), bool)))


def test_encoder_sees_both_ways_but_no_padding(tiny_config, tiny_params):
    tokens = np.array([[5, 6, 7, 8, 0, 0]])
    module: Any = network.Transformer(tiny_config)

    @jax.jit
    def features(tokens):
        return module.apply({"params": tiny_params}, tokens, enable_dropout=False, method="encode")

    last_changed = features(np.array([[5, 6, 7, 9, 0, 0]]))
    assert np.all(np.any(features(tokens)[0, :4] != last_changed[0, :4], axis=-1))
    np.testing.assert_allclose(
        features(tokens)[:, :4], features(tokens[:, :4]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_position_buckets(bidirectional):
    def bucket(relative):
        """Raffel et al. (https://arxiv.org/abs/1910.10683), with 32 buckets up to 128."""
        size, start = (16, 16 * (relative > 0)) if bidirectional else (32, 0)
        distance = abs(relative) if bidirectional else max(-relative, 0)
        exact = size // 2
        if distance < exact:
            return start + distance
        octaves = math.log2(distance) - math.log2(exact)
        wide = exact + math.floor(octaves / math.log2(128 / exact) * (size - exact) + 1e-9)
        return start + min(wide, size - 1)

    relative = np.arange(-300, 301)
    actual = layers.relative_position_bucket(relative, bidirectional=bidirectional)
    assert actual.tolist() == [bucket(int(r)) for r in relative]
    compiled = jax.jit(lambda r: layers.relative_position_bucket(r, bidirectional=bidirectional))(
        relative
    )
    np.testing.assert_array_equal(compiled, actual)


def test_bias_depends_on_the_distance_and_side_only(tiny_params):
    module: Any = layers.RelativePositionBias(4, bidirectional=True)
    params = tiny_params["encoder"]["relpos_bias"]
    by_distance = module.apply({"params": params}, np.arange(-5, 6))
    bias = attention.bias_of_rows(by_distance, 6)
    table = tiny_params["encoder"]["relpos_bias"]["rel_embedding"]
    for query in range(6):
        for key in range(6):
            column = query - key if key <= query else 16 + key - query
            np.testing.assert_allclose(bias[0, :, query, key], table[:, column], rtol=1e-6)


@pytest.mark.parametrize("step", [1, 3])
def test_cached_decoding_equals_the_full_forward_pass(tiny_config, tiny_params, tiny_batch, step):
    module: Any = network.Transformer(tiny_config)
    inputs = tiny_batch["encoder_input_tokens"][:2]
    tokens = np.random.default_rng(0).integers(2, 32, (2, 6))
    params = {"params": tiny_params}
    full = jax.jit(lambda: module.apply(params, inputs, tokens, tokens, enable_dropout=False))()
    encoded = jax.jit(lambda: module.apply(params, inputs, enable_dropout=False, method="encode"))()

    @functools.partial(jax.jit, static_argnames="mutable")
    def decode(variables, encoded, tokens, mutable):
        return module.apply(
            {**params, **variables}, encoded, inputs, tokens, tokens,
            enable_dropout=False, decode=True, max_decode_length=6, mutable=mutable,
            method="decode",
        )  # fmt: skip

    _, variables = decode({}, encoded, tokens[:, :1], ("cache", "memory"))
    for start in range(0, 6, step):
        # With the memory in place, the encoder's output itself is not looked at again.
        logits, cache = decode(
            variables, jnp.full_like(encoded, jnp.nan), tokens[:, start : start + step], ("cache",)
        )
        variables = {**variables, **cache}
        np.testing.assert_allclose(logits, full[:, start : start + step], rtol=1e-4, atol=1e-4)


def test_dropout_follows_its_key(tiny_config, tiny_params, tiny_batch):
    tokens = {k: v for k, v in tiny_batch.items() if k.endswith("tokens")}

    @jax.jit
    def logits(seed):
        return network.Transformer(tiny_config).apply(
            {"params": tiny_params}, **tokens, rngs={"dropout": jax.random.key(seed)}
        )

    np.testing.assert_array_equal(logits(0), logits(0))
    assert np.any(logits(0) != logits(1))


def test_bfloat16_activations_and_float32_logits(tiny_config, tiny_params, tiny_batch, apply):
    tokens = {k: v for k, v in tiny_batch.items() if k.endswith("tokens")}
    module: Any = network.Transformer(tiny_config.replace(dtype="bfloat16"))
    variables = {"params": tiny_params}
    inputs = tokens["encoder_input_tokens"]
    features = jax.eval_shape(
        lambda: module.apply(variables, inputs, enable_dropout=False, method="encode")
    )
    logits = jax.jit(lambda: module.apply(variables, **tokens, enable_dropout=False))()
    assert features.dtype == jnp.bfloat16 and logits.dtype == jnp.float32
    real = tokens["decoder_target_tokens"] > 0
    error = np.abs(logits - apply(tokens))[real]
    assert 0 < error.mean() < 0.05


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("emb_dim", 0),
        ("num_encoder_layers", -1),
        ("dropout_rate", 1.0),
        ("mlp_activations", ("gelo",)),
        ("mlp_activations", ()),
        ("dtype", "bfloat17"),
        ("dtype", "int32"),
    ],
)
def test_config_refuses_nonsense(setting, value):
    with pytest.raises(T5XError, match=f"T5Config: {setting}") as error:
        network.T5Config(vocab_size=32, **{setting: value})
    assert repr(value) in str(error.value)


def test_refuses_segment_ids_for_one_side(apply):
    batch = {k: v for k, v in PACKED.items() if k != "decoder_segment_ids"}
    with pytest.raises(T5XError, match="decoder_segment_ids are missing"):
        apply(batch)


def test_refuses_to_decode_packed_examples(apply):
    with pytest.raises(T5XError, match="pack = False"):
        apply(PACKED, decode=True, mutable=["cache", "memory"])
