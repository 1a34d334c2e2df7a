"""The size of a model, told by the shapes of its parameters."""

from collections.abc import Mapping
from typing import Any

from t5x import huggingface
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.weights.leaves import Leaf


def config_of(leaves: Mapping[str, Leaf]) -> network.T5Config:
    """The configuration of a model whose layers lie side by side.

    Activations can't be told: two branches are taken for T5 1.1's gated GELU, one for T5 1.0's
    ReLU. Dropout is T5's 0.1.

    Raises:
        T5XError: it is no encoder-decoder of T5's kind.
    """
    try:
        vocab_size, emb_dim = leaves["target/token_embedder/embedding"].shape
        num_heads = leaves["target/encoder/relpos_bias/rel_embedding"].shape[0]
        joined = leaves["target/encoder/layers_0/attention/query/kernel"].shape[1]
        mlp_dim = leaves["target/encoder/layers_0/mlp/wo/kernel"].shape[0]
    except KeyError as error:
        raise T5XError(
            f"{error.args[0]} is not in it",
            where=next((leaf.where for leaf in leaves.values()), "the checkpoint"),
            remedy="Only models of the kind of T5 1.0, T5 1.1 and mT5 can be converted.",
        ) from error
    is_gated = "target/encoder/layers_0/mlp/wi_1/kernel" in leaves
    return network.T5Config(
        vocab_size=vocab_size,
        emb_dim=emb_dim,
        num_heads=num_heads,
        num_encoder_layers=_count(leaves, "encoder"),
        num_decoder_layers=_count(leaves, "decoder"),
        head_dim=joined // num_heads,
        mlp_dim=mlp_dim,
        mlp_activations=("gelu", "linear") if is_gated else ("relu",),
        dropout_rate=0.1,
        logits_via_embedding="target/decoder/logits_dense/kernel" not in leaves,
    )


def settings_of(leaves: Mapping[str, Leaf], changes: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.json` shall hold, with changes such as `{"feed_forward_proj": "gated-silu"}`.

    With `model_type` "mt5", the architecture is mT5's.
    """
    settings = huggingface.config_to_huggingface(config_of(leaves)) | dict(changes)
    if settings["model_type"] == "mt5":
        settings["architectures"] = ["MT5ForConditionalGeneration"]
    return settings


def _count(leaves: Mapping[str, Leaf], stack: str) -> int:
    start = f"target/{stack}/layers_"
    return len({name[len(start) :].partition("/")[0] for name in leaves if name.startswith(start)})
