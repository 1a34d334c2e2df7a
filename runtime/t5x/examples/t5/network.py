"""T5 1.1: an encoder-decoder Transformer (https://arxiv.org/abs/2002.05202 for its gated MLP)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from t5x.errors import T5XError
from t5x.examples.t5 import attention, cached, layers, stack
from t5x.examples.t5.config import T5Config

__all__ = ["Decoder", "Encoder", "T5Config", "Transformer"]

Mask = jax.Array | attention.Sight


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward block, each normalized before and added to its input."""

    config: T5Config

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: Mask, bias: jax.Array, *, deterministic: bool
    ) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape."""
        drop = layers.dropout(self.config.dropout_rate)
        y = _norm(self.config, "pre_attention_layer_norm")(x)
        y = _attention(self.config, "attention")(y, y, mask, bias, deterministic=deterministic)
        x = x + drop(y, deterministic=deterministic)
        y = _norm(self.config, "pre_mlp_layer_norm")(x)
        y = _mlp(self.config)(y, deterministic=deterministic)
        x = x + drop(y, deterministic=deterministic)
        return nn.with_logical_constraint(x, ("batch", "length", "embed"))


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's output, and a feed-forward block."""

    config: T5Config

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        self_mask: Mask,
        cross_mask: Mask,
        bias: jax.Array,
        *,
        deterministic: bool,
        slot: cached.CacheSlot | None,
    ) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape; for the rest see `Attention`."""
        drop = layers.dropout(self.config.dropout_rate)
        y = _norm(self.config, "pre_self_attention_layer_norm")(x)
        y = _attention(self.config, "self_attention")(
            y, y, self_mask, bias, deterministic=deterministic, slot=slot
        )
        x = x + drop(y, deterministic=deterministic)
        y = _norm(self.config, "pre_cross_attention_layer_norm")(x)
        y = _attention(self.config, "encoder_decoder_attention")(
            y,
            encoded,
            cross_mask,
            deterministic=deterministic,
            keep_memory=slot is not None,
        )
        x = x + drop(y, deterministic=deterministic)
        y = _norm(self.config, "pre_mlp_layer_norm")(x)
        y = _mlp(self.config)(y, deterministic=deterministic)
        x = x + drop(y, deterministic=deterministic)
        return nn.with_logical_constraint(x, ("batch", "length", "embed"))


class Encoder(nn.Module):
    """The stack of encoder layers, from embedded tokens to normalized features."""

    config: T5Config

    def setup(self) -> None:
        """Declares the layers; their names are those of T5X's checkpoints."""
        cfg = self.config
        self.relpos_bias = layers.RelativePositionBias(cfg.num_heads, bidirectional=True)
        self.layers = stack.make(EncoderLayer, cfg, cfg.num_encoder_layers)
        self.encoder_norm = layers.RMSNorm(cfg.dtype)
        self.drop = layers.dropout(cfg.dropout_rate)

    def __call__(self, x: jax.Array, sight: attention.Sight, *, deterministic: bool) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape."""
        mask, bias = _mask_and_bias(sight, self.relpos_bias, x.shape[1])

        def step(layer: EncoderLayer, x: jax.Array) -> jax.Array:
            return layer(x, mask, bias, deterministic=deterministic)

        x = self.drop(x, deterministic=deterministic)
        x = stack.run(step, self.layers, x, self.config, self.config.num_encoder_layers)
        return self.drop(self.encoder_norm(x), deterministic=deterministic)


class Decoder(nn.Module):
    """The stack of decoder layers, from embedded tokens to normalized features."""

    config: T5Config

    def setup(self) -> None:
        """Declares the layers; their names are those of T5X's checkpoints."""
        cfg = self.config
        self.position = CachePosition()
        self.relpos_bias = layers.RelativePositionBias(cfg.num_heads, bidirectional=False)
        self.layers = stack.make(DecoderLayer, cfg, cfg.num_decoder_layers)
        self.decoder_norm = layers.RMSNorm(cfg.dtype)
        self.drop = layers.dropout(cfg.dropout_rate)
        if not cfg.logits_via_embedding:
            self.logits_dense = layers.Projection((cfg.vocab_size,), ("embed", "vocab"))

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        self_sight: attention.Sight,
        cross_sight: attention.Sight,
        *,
        deterministic: bool,
        cache_length: int | None = None,
        ancestors: jax.Array | None = None,
    ) -> jax.Array:
        """Maps `[batch, length, embed]` to the same shape.

        Args:
            x: Embedded decoder inputs `[batch, length, embed]`; with a cache, the next ones only.
            encoded: The encoder's output `[batch, encoder length, embed]`.
            self_sight: What it sees of itself; with a cache, that is all until now.
            cross_sight: What it sees of `encoded`.
            deterministic: True switches dropout off.
            cache_length: Positions of the key/value cache; None decodes all of `x` at once.
            ancestors: See `cached.CacheSlot`.
        """
        slot = None
        mask: Mask
        cross_mask: Mask
        if cache_length is None:
            mask, bias = _mask_and_bias(self_sight, self.relpos_bias, x.shape[1])
            cross_mask = _mask(cross_sight, x.shape[1])
        else:
            slot = cached.CacheSlot(self.position(x.shape[1]), cache_length, ancestors)
            distances = np.arange(cache_length) - (np.arange(x.shape[1]) + slot.index)[:, None]
            mask = jnp.asarray(distances <= 0)[None, None]
            bias = self.relpos_bias(distances)[None]
            cross_mask = cross_sight.mask()

        def step(layer: DecoderLayer, x: jax.Array) -> jax.Array:
            return layer(x, encoded, mask, cross_mask, bias, deterministic=deterministic, slot=slot)

        x = self.drop(x, deterministic=deterministic)
        x = stack.run(step, self.layers, x, self.config, self.config.num_decoder_layers)
        return self.drop(self.decoder_norm(x), deterministic=deterministic)


class CachePosition(nn.Module):
    """Counts the tokens that a decoder's cache has taken in."""

    @nn.compact
    def __call__(self, num_new: int) -> jax.Array:
        """Returns the position of the first of `num_new` tokens; the first call counts none."""
        is_new_cache = not self.has_variable("cache", "index")
        index = self.variable("cache", "index", jnp.zeros, (), jnp.int32)
        position = index.value
        if not is_new_cache:
            index.value = position + num_new
        return position


class Transformer(nn.Module):
    """The encoder-decoder. Token 0 is padding, and starts the decoder's input.

    Packed examples (rows that hold several, told apart by segment ids) never attend to each
    other. Positions are accepted with them and not needed: relative positions within an example
    are the same wherever it lies in its row.
    """

    config: T5Config

    def setup(self) -> None:
        """Declares the parts; their names are those of T5X's checkpoints."""
        cfg = self.config
        self.token_embedder = layers.Embedder(cfg.vocab_size, cfg.emb_dim, cfg.dtype)
        self.encoder = Encoder(cfg)
        self.decoder = Decoder(cfg)

    def __call__(
        self,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        encoder_positions: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
    ) -> jax.Array:
        """Returns logits `[batch, decoder length, vocab]` float32 for all positions at once.

        All arguments are `[batch, length]` integers. See `encode` and `decode`.
        """
        encoded = self.encode(
            encoder_input_tokens, encoder_segment_ids, enable_dropout=enable_dropout
        )
        return self.decode(
            encoded,
            encoder_input_tokens,
            decoder_input_tokens,
            decoder_target_tokens,
            encoder_segment_ids,
            decoder_segment_ids,
            decoder_positions,
            enable_dropout=enable_dropout,
            decode=decode,
            max_decode_length=decoder_input_tokens.shape[1] if decode else None,
        )

    def encode(
        self,
        encoder_input_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        *,
        enable_dropout: bool = True,
    ) -> jax.Array:
        """Returns features `[batch, length, embed]` for tokens `[batch, length]`."""
        sight = attention.Sight(encoder_input_tokens > 0, encoder_segment_ids, encoder_segment_ids)
        x = self.token_embedder(encoder_input_tokens)
        return self.encoder(x, sight, deterministic=not enable_dropout)

    def decode(
        self,
        encoded: jax.Array,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        decoder_target_tokens: jax.Array,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        decoder_positions: jax.Array | None = None,
        *,
        enable_dropout: bool = True,
        decode: bool = False,
        max_decode_length: int | None = None,
        ancestors: jax.Array | None = None,
    ) -> jax.Array:
        """Returns logits `[batch, length, vocab]` float32 for given or successive tokens.

        With `decode`, the decoder's rows may be a multiple of the encoder's: all sequences of an
        example, one after the other.

        Args:
            encoded: The output of `encode`.
            encoder_input_tokens: The input of `encode`: what is padding there is not attended to.
            decoder_input_tokens: `[batch, length]`; with `decode`, the next tokens (usually one).
            decoder_target_tokens: `[batch, length]`; positions where it is 0 are not attended to,
                unless `decode` is set.
            encoder_segment_ids: Numbers of the packed examples; 0 is padding.
            decoder_segment_ids: Likewise.
            decoder_positions: Not needed.
            enable_dropout: Whether dropout applies; it needs the random stream "dropout".
            decode: Decodes step by step. The first call, with the collections "cache" and
                "memory" mutable, creates them and consumes no tokens; each further call is given
                both, and "cache" mutable, and appends its tokens to those before.
            max_decode_length: Greatest number of tokens that `decode` will be given in all.
            ancestors: `[batch, beams, max_decode_length]` int32, for beam search one token at a
                time: which of its example's rows was given each sequence's token at each position.
                None: rows go on with what they were given themselves.

        Raises:
            T5XError: Segment ids are given for one side only, or to `decode`.
        """
        del decoder_positions
        _check_segment_ids(encoder_segment_ids, decoder_segment_ids, decode)
        x = self.decoder(
            self.token_embedder(decoder_input_tokens),
            encoded,
            attention.Sight(
                decoder_target_tokens > 0, decoder_segment_ids, decoder_segment_ids, causal=True
            ),
            attention.Sight(encoder_input_tokens > 0, decoder_segment_ids, encoder_segment_ids),
            deterministic=not enable_dropout,
            cache_length=(max_decode_length or decoder_input_tokens.shape[1]) if decode else None,
            ancestors=ancestors,
        )
        return nn.with_logical_constraint(self._logits(x), ("batch", "length", "vocab"))

    def _logits(self, x: jax.Array) -> jax.Array:
        """Maps features `[batch, length, embed]` to logits `[batch, length, vocab]`."""
        if self.config.logits_via_embedding:
            return self.token_embedder.attend(x) / math.sqrt(self.config.emb_dim)
        return self.decoder.logits_dense(x)


def _mask(sight: attention.Sight, num_queries: int) -> Mask:
    """The mask itself, or for many keys what each part of the queries makes one of."""
    if sight.is_token.shape[1] > attention.MOST_KEYS_AT_ONCE:
        return sight
    return sight.mask(jnp.arange(num_queries))


def _mask_and_bias(
    sight: attention.Sight, relpos_bias: layers.RelativePositionBias, length: int
) -> tuple[Mask, jax.Array]:
    """What all layers of a stack need for self-attention, in the form that its length asks for."""
    mask = _mask(sight, length)
    by_distance = relpos_bias(np.arange(1 - length, length))
    if isinstance(mask, attention.Sight):
        return mask, by_distance
    # The barrier keeps XLA from adding up layers' gradients and their diagonals in one slow loop.
    return mask, jax.lax.optimization_barrier(attention.bias_of_rows(by_distance, length))


def _attention(config: T5Config, name: str) -> layers.Attention:
    return layers.Attention(
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        float32_logits=config.float32_attention_logits,
        name=name,
    )


def _mlp(config: T5Config) -> layers.GatedMlp:
    return layers.GatedMlp(
        hidden_dim=config.mlp_dim,
        activations=config.mlp_activations,
        dropout_rate=config.dropout_rate,
        dtype=config.dtype,
        name="mlp",
    )


def _norm(config: T5Config, name: str) -> layers.RMSNorm:
    return layers.RMSNorm(config.dtype, name=name)


def _check_segment_ids(encoder: jax.Array | None, decoder: jax.Array | None, decode: bool) -> None:
    if (encoder is None) != (decoder is None):
        missing = "encoder" if encoder is None else "decoder"
        raise T5XError(
            f"{missing}_segment_ids are missing",
            where="network.Transformer",
            remedy="Give segment ids for both sides of a packed batch, or for neither.",
        )
    if decode and encoder is not None:
        raise T5XError(
            "packed examples cannot be decoded step by step",
            where="network.Transformer.decode",
            remedy="Set DatasetConfig.pack = False for inference.",
        )
