"""The sizes and choices that make a T5 model, checked."""

from collections.abc import Sequence
from typing import Any

import flax.struct
import jax.numpy as jnp

from t5x.errors import T5XError
from t5x.examples.t5 import layers, stack


@flax.struct.dataclass
class T5Config:
    """Sizes and numeric choices of a T5 model.

    Attributes:
        vocab_size: Rows of the embedding, at least the vocabulary's size; a multiple of 128 is
            fast.
        dtype: Dtype of activations; parameters and logits are always float32.
        emb_dim: Features of a token.
        num_heads: Attention heads.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        head_dim: Features of an attention head.
        mlp_dim: Hidden features of the feed-forward blocks.
        mlp_activations: Names of activation functions, whose outputs are multiplied:
            ("gelu", "linear") in T5 1.1.
        dropout_rate: Rate of every dropout.
        logits_via_embedding: Whether the embedding is the output projection too (T5 1.0).
        float32_attention_logits: Whether queries and keys are multiplied in float32.
        scan_layers: Whether the layers of a stack are one loop over stacked parameters, which
            compiles in a time that doesn't grow with their number. The numbers stay the same; the
            parameters are `encoder/layers/...` of shape `[layers, ...]`, in place of
            `encoder/layers_0/...`.
        remat_policy: What the backward pass computes again instead of keeping it: "none" of a
            layer; "minimal", all but the results of its projections; "full", all but its input.

    Raises:
        T5XError: A size is not positive, or an activation, dtype, rate or policy makes no sense.
    """

    vocab_size: int
    dtype: Any = jnp.float32
    emb_dim: int = 512
    num_heads: int = 8
    num_encoder_layers: int = 6
    num_decoder_layers: int = 6
    head_dim: int = 64
    mlp_dim: int = 2048
    mlp_activations: Sequence[str] = ("relu",)
    dropout_rate: float = 0.1
    logits_via_embedding: bool = False
    float32_attention_logits: bool = False
    scan_layers: bool = False
    remat_policy: str | None = "none"

    def __post_init__(self) -> None:
        """Refuses what could only fail later, and less clearly."""
        for name in ("vocab_size", "emb_dim", "num_heads", "head_dim", "mlp_dim"):
            if getattr(self, name) < 1:
                _refuse(name, getattr(self, name), "Use a positive number.")
        for name in ("num_encoder_layers", "num_decoder_layers"):
            if getattr(self, name) < 0:
                _refuse(name, getattr(self, name), "Use 0 or a positive number.")
            if self.scan_layers and getattr(self, name) == 0:
                _refuse(name, 0, "Use a positive number, or set scan_layers = False.")
        if not 0 <= self.dropout_rate < 1:
            _refuse("dropout_rate", self.dropout_rate, "Use a number from 0 to below 1.")
        if self.remat_policy not in stack.REMAT_POLICIES:
            policies = ", ".join(f"'{name}'" for name in stack.REMAT_POLICIES if name)
            _refuse("remat_policy", self.remat_policy, f"Use one of {policies}.")
        known = ", ".join(layers.ACTIVATIONS)
        if not self.mlp_activations or not set(self.mlp_activations) <= set(layers.ACTIVATIONS):
            _refuse("mlp_activations", self.mlp_activations, f"Use one or more of {known}.")
        try:
            is_float = jnp.issubdtype(jnp.dtype(self.dtype), jnp.floating)
        except TypeError:
            is_float = False
        if not is_float:
            _refuse("dtype", self.dtype, "Use 'float32' or 'bfloat16'.")


def _refuse(name: str, value: Any, remedy: str) -> None:
    raise T5XError(f"{name} is {value!r}", where="network.T5Config", remedy=remedy)
