"""Names and settings of Hugging Face's T5 models, without Hugging Face's code."""

import jax
import numpy as np
import pytest

from t5x import huggingface
from t5x.errors import T5XError
from t5x.examples.t5 import network

FLAN_T5_SMALL = {  # What matters of the published file.
    "model_type": "t5",
    "d_ff": 1024,
    "d_kv": 64,
    "d_model": 512,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "feed_forward_proj": "gated-gelu",
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "num_decoder_layers": 8,
    "num_heads": 6,
    "num_layers": 8,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "vocab_size": 32128,
}


@pytest.fixture(scope="module")
def state(tiny_params, tiny_config):
    return huggingface.params_to_huggingface(tiny_params, tiny_config)


def test_settings_of_flan_t5_small():
    config = huggingface.config_from_huggingface(FLAN_T5_SMALL)
    assert config == network.T5Config(
        vocab_size=32128, emb_dim=512, num_heads=6, num_encoder_layers=8, num_decoder_layers=8,
        head_dim=64, mlp_dim=1024, mlp_activations=("gelu", "linear"),
    )  # fmt: skip
    assert FLAN_T5_SMALL.items() <= {
        **huggingface.config_to_huggingface(config), "is_encoder_decoder": True
    }.items()  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "is_tied"),
    [
        ({"tie_word_embeddings": True}, True),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, False),
        ({"model_type": "mt5", "tie_word_embeddings": True}, False),
    ],
)
def test_which_models_scale_their_output(changes, is_tied):
    config = huggingface.config_from_huggingface({**FLAN_T5_SMALL, **changes})
    assert config.logits_via_embedding == is_tied


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "umt5"}, "model_type is 'umt5'"),
        ({"layer_norm_epsilon": 1e-5}, "layer_norm_epsilon is 1e-05"),
        ({"relative_attention_num_buckets": 64}, "num_buckets is 64"),
        ({"feed_forward_proj": "gelu"}, "feed_forward_proj is 'gelu'"),
    ],
)
def test_refuses_models_that_would_not_be_the_same(changes, message):
    with pytest.raises(T5XError, match=message):
        huggingface.config_from_huggingface({**FLAN_T5_SMALL, **changes})


def test_refuses_settings_without_sizes():
    settings = {key: value for key, value in FLAN_T5_SMALL.items() if key != "d_kv"}
    with pytest.raises(T5XError, match="d_kv"):
        huggingface.config_from_huggingface(settings)


def test_refuses_to_export_activations_that_are_not_there():
    config = network.T5Config(vocab_size=8, mlp_activations=("elu",))
    with pytest.raises(T5XError, match="elu"):
        huggingface.config_to_huggingface(config)


def test_parameters_come_back_as_they_were(tiny_params, tiny_config, state):
    copied = {**state, "encoder.embed_tokens.weight": state["shared.weight"]}
    returned = huggingface.params_from_huggingface(copied, tiny_config)
    jax.tree.map(np.testing.assert_array_equal, returned, tiny_params)


def test_output_projection_left_out_is_the_embedding(tiny_config, state):
    tied = {name: array for name, array in state.items() if name != "lm_head.weight"}
    params = huggingface.params_from_huggingface(tied, tiny_config)
    kernel = params["decoder"]["logits_dense"]["kernel"]
    np.testing.assert_array_equal(kernel, params["token_embedder"]["embedding"].T)


NAME = "decoder.block.1.layer.2.DenseReluDense.wo.weight"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({NAME: None}, f"{NAME} is missing"),
        ({NAME: np.zeros((32, 16))}, r"has shape \(32, 16\), not \(16, 32\)"),
        ({"encoder.block.2.layer.0.layer_norm.weight": np.zeros(16)}, "no parameter"),
    ],
)
def test_refuses_weights_of_another_model(tiny_config, state, changes, message):
    changed = {key: value for key, value in {**state, **changes}.items() if value is not None}
    with pytest.raises(T5XError, match=message):
        huggingface.params_from_huggingface(changed, tiny_config)


def test_refuses_an_own_output_projection_where_it_should_be_the_embedding(tiny_config, state):
    with pytest.raises(T5XError, match=r"lm_head\.weight differs"):
        huggingface.params_from_huggingface(state, tiny_config.replace(logits_via_embedding=True))
