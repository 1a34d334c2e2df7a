"""What a T5 model's arithmetic and memory come to: pure functions of its sizes and the lengths.

FLOPs are those of matrix products, a multiplication and an addition counting as two, for one
sequence. Attention counts every key, those that a mask hides too, because the engine computes them.
Everything else that a model does (norms, activations, the softmax, relative positions, the
optimizer) is left out; it is 1 % of a small T5, and less of a larger one.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

FLOAT32 = 4
_RELATIVE_BUCKETS = 32


@dataclasses.dataclass(frozen=True)
class Model:
    """The sizes of an encoder-decoder.

    Attributes:
        vocab_size: Rows of the embedding.
        emb_dim: Features of a token.
        num_heads: Heads of an attention.
        head_dim: Features of a head.
        mlp_dim: Hidden features of a feed-forward block.
        num_branches: Matrices into the hidden features: 2 where the block is gated.
        num_encoder_layers: Layers of the encoder.
        num_decoder_layers: Layers of the decoder.
        tied: Whether the embedding is the output projection too.
        activation_bytes: Of a number in an activation, a key or a value.
    """

    vocab_size: int
    emb_dim: int
    num_heads: int
    head_dim: int
    mlp_dim: int
    num_branches: int
    num_encoder_layers: int
    num_decoder_layers: int
    tied: bool = False
    activation_bytes: int = FLOAT32

    @property
    def joined_dim(self) -> int:
        """Features of all heads."""
        return self.num_heads * self.head_dim


@dataclasses.dataclass(frozen=True)
class Training:
    """One training step: its batch and how it is computed.

    Attributes:
        batch: Sequences.
        inputs: Tokens of a sequence's inputs, padding included.
        targets: Likewise of its targets.
        microbatches: Slices in which the batch is computed one after the other.
        remat: What the backward pass computes again: "none", "minimal" or "full".
    """

    batch: int
    inputs: int
    targets: int
    microbatches: int = 1
    remat: str = "none"

    @property
    def tokens(self) -> int:
        """Tokens of a step, padding included."""
        return self.batch * (self.inputs + self.targets)


@dataclasses.dataclass(frozen=True)
class Answer:
    """FLOPs of generating one answer greedily.

    Attributes:
        inputs: Tokens of the prompt.
        outputs: Tokens of the answer.
        encoder: The encoder, once over the prompt.
        memory: The decoder's keys and values of the prompt, once.
        decoder: All steps of the decoder, each for one token, with a cache of those before.
    """

    inputs: int
    outputs: int
    encoder: int
    memory: int
    decoder: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.encoder + self.memory + self.decoder


def matrices(model: Model) -> Iterator[tuple[str, int, int, int]]:
    """All parameters that are matrices: part, rows, columns, how many of them."""
    d, joined = model.emb_dim, model.joined_dim
    yield "embedding", model.vocab_size, d, 1
    for part, layers, attentions in (
        ("encoder", model.num_encoder_layers, 1),
        ("decoder", model.num_decoder_layers, 2),
    ):
        yield part, d, joined, 3 * attentions * layers
        yield part, joined, d, attentions * layers
        yield part, d, model.mlp_dim, model.num_branches * layers
        yield part, model.mlp_dim, d, layers
        yield part, model.num_heads, _RELATIVE_BUCKETS, 1
    if not model.tied:
        yield "output", d, model.vocab_size, 1


def parameters(model: Model) -> dict[str, int]:
    """Parameters by part: embedding, encoder, decoder, output."""
    found = dict.fromkeys(("embedding", "encoder", "decoder", "output"), 0)
    for part, rows, columns, count in matrices(model):
        found[part] += rows * columns * count
    found["encoder"] += (2 * model.num_encoder_layers + 1) * model.emb_dim  # of the norms
    found["decoder"] += (3 * model.num_decoder_layers + 1) * model.emb_dim
    return found


def encoder_flops(model: Model, inputs: int) -> int:
    """Of encoding one sequence."""
    layer = inputs * (_attention_projections(model) + _mlp(model)) + _mixing(model, inputs, inputs)
    return model.num_encoder_layers * layer


def memory_flops(model: Model, inputs: int) -> int:
    """Of the keys and values that the decoder's layers make of one encoded sequence."""
    return model.num_decoder_layers * inputs * 2 * 2 * model.emb_dim * model.joined_dim


def decoder_flops(model: Model, inputs: int, outputs: int) -> int:
    """Of the decoder over all tokens of one sequence at once, without the memory's."""
    return _decoder_flops(model, inputs, outputs, outputs)


def decode_step_flops(model: Model, inputs: int, cache: int) -> int:
    """Of the decoder's step for one token, with a cache of so many positions, filled or not."""
    return _decoder_flops(model, inputs, 1, cache)


def answer(model: Model, inputs: int, outputs: int) -> Answer:
    """What an answer of so many tokens costs; the cache has a position for each."""
    return Answer(
        inputs,
        outputs,
        encoder_flops(model, inputs),
        memory_flops(model, inputs),
        outputs * decode_step_flops(model, inputs, outputs),
    )


def forward_flops(model: Model, inputs: int, targets: int) -> int:
    """Of one sequence through encoder and decoder, all tokens at once."""
    return (
        encoder_flops(model, inputs)
        + memory_flops(model, inputs)
        + decoder_flops(model, inputs, targets)
    )


def train_step_flops(model: Model, training: Training) -> int:
    """Of a step: forward, twice as much backward, and what is computed again."""
    inputs, targets = training.inputs, training.targets
    layers = forward_flops(model, inputs, targets) - targets * _output(model)
    again = 0
    if training.remat == "full":
        again = layers
    elif training.remat == "minimal":
        again = model.num_encoder_layers * _mixing(model, inputs, inputs)
        again += model.num_decoder_layers * _mixing(model, targets, targets + inputs)
    return training.batch * (3 * forward_flops(model, inputs, targets) + again)


def rule_of_thumb_flops(model: Model, tokens: int) -> int:
    """Of training on so many tokens, if each passes half of the model: 6 * N / 2 a token.

    N leaves the embedding out, because looking a token up is no arithmetic. Tied, it is the output
    projection, and counts.
    """
    found = parameters(model)
    return 3 * tokens * (sum(found.values()) - (0 if model.tied else found["embedding"]))


def optimizer_bytes(model: Model, factored_from: int = 128) -> int:
    """Of Adafactor's memory: a row and a column of each large matrix, the whole of the others."""
    vectors = sum(parameters(model).values()) - sum(r * c * n for _, r, c, n in matrices(model))
    numbers = sum(
        (rows + columns if min(rows, columns) >= factored_from else rows * columns) * count
        for _, rows, columns, count in matrices(model)
    )
    return FLOAT32 * (numbers + vectors)


def cache_bytes(model: Model, inputs: int, outputs: int) -> int:
    """Of the keys and values of one sequence while it is answered."""
    positions = model.num_decoder_layers * (inputs + outputs)
    return positions * 2 * model.joined_dim * model.activation_bytes


def kept_bytes(model: Model, training: Training) -> int:
    """The least that one sequence leaves for the backward pass: activations, and the logits.

    A compiler keeps more than this: copies in float32, masks of dropout, results to be reused.
    """
    inputs, targets = training.inputs, training.targets
    d, joined = model.emb_dim, model.joined_dim
    encoder = inputs * 4 * (d + joined) + model.num_heads * inputs * inputs
    decoder = targets * 6 * (d + joined) + model.num_heads * targets * (targets + inputs)
    decoder += 2 * inputs * joined
    hidden = (model.num_branches + 1) * model.mlp_dim
    if training.remat == "full":
        encoder, decoder, hidden = inputs * d, targets * d, 0
    layers = model.num_encoder_layers * (encoder + inputs * hidden)
    layers += model.num_decoder_layers * (decoder + targets * hidden)
    return layers * model.activation_bytes + targets * model.vocab_size * FLOAT32


def decoder_weights(model: Model) -> int:
    """Parameters that a step of the decoder reads: not those that made the memory."""
    found = parameters(model)
    made_memory = 2 * model.num_decoder_layers * model.emb_dim * model.joined_dim
    output = found["embedding"] if model.tied else found["output"]
    return found["decoder"] - made_memory + output


def model_of(config: Any) -> Model:
    """The sizes in a `t5x.examples.t5.network.T5Config`, or in what has its attributes."""
    return Model(
        vocab_size=config.vocab_size,
        emb_dim=config.emb_dim,
        num_heads=config.num_heads,
        head_dim=config.head_dim,
        mlp_dim=config.mlp_dim,
        num_branches=len(config.mlp_activations),
        num_encoder_layers=config.num_encoder_layers,
        num_decoder_layers=config.num_decoder_layers,
        tied=config.logits_via_embedding,
        activation_bytes=2 if "16" in str(config.dtype) else FLOAT32,
    )


def _decoder_flops(model: Model, inputs: int, tokens: int, keys: int) -> int:
    """Of `tokens` new tokens that attend to `keys` of their own side and to all inputs."""
    # Of the second attention, only queries and results are projected here.
    projections = _attention_projections(model) * 3 // 2
    layer = tokens * (projections + _mlp(model)) + _mixing(model, tokens, keys + inputs)
    return model.num_decoder_layers * layer + tokens * _output(model)


def _attention_projections(model: Model) -> int:
    """Of a token's query, key, value and result."""
    return 4 * 2 * model.emb_dim * model.joined_dim


def _mlp(model: Model) -> int:
    return (model.num_branches + 1) * 2 * model.emb_dim * model.mlp_dim


def _mixing(model: Model, queries: int, keys: int) -> int:
    """Of comparing queries with keys, and of adding up values."""
    return 2 * 2 * queries * keys * model.joined_dim


def _output(model: Model) -> int:
    return 2 * model.emb_dim * model.vocab_size


def in_slices(training: Training) -> int:
    """Sequences that are computed at once."""
    return math.ceil(training.batch / training.microbatches)
