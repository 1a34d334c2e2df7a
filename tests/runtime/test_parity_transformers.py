"""The model against Hugging Face's, through files as people exchange them, on random weights.

Both run the same examples: padded in both, and packed here against one at a time there, which
cannot pack.
"""

import json
from typing import NamedTuple

import jax
import numpy as np
import pytest
from flax import linen as nn

from t5x import adafactor, decoding, huggingface, models
from t5x.examples.t5 import layers, network

WANTED = "compares with Hugging Face's models: pip install torch transformers"
torch = pytest.importorskip("torch", reason=WANTED)
transformers = pytest.importorskip("transformers", reason=WANTED)
safetensors = pytest.importorskip("safetensors.numpy", reason=WANTED)

torch.set_num_threads(1)  # Models this small lose time to more.

TOLERANCE = 1e-4
NUM_EXAMPLES, ENCODER_LENGTH, DECODER_LENGTH = 5, 24, 12
PACKED_ROWS = [[0, 1, 2], [3, 4]]  # Examples in each row of a packed batch.
PACKED_ENCODER_LENGTH, PACKED_DECODER_LENGTH = 72, 36
STEPS = 64

KINDS = {  # The published models: activations, tied embeddings.
    "T5 1.0": (("relu",), True),
    "T5 1.1": (("gelu", "linear"), False),
    "mT5": (("gelu", "linear"), False),
    "UL2": (("silu", "linear"), False),
}


class Case(NamedTuple):
    kind: str
    seed: int
    config: network.T5Config


def random_case(seed):
    """One of each kind of published models, then mixtures of their traits."""
    rng = np.random.default_rng(seed)
    kind = [*KINDS, "mixed"][min(seed, len(KINDS))]
    activations, is_tied = KINDS.get(kind) or (
        [("relu",), ("gelu",), ("relu", "linear"), ("gelu", "linear")][seed % 4],
        bool(rng.integers(2)),
    )
    num_heads = int(rng.integers(1, 6))
    emb_dim = int(rng.choice([16, 24, 40]))
    head_dims = [size for size in (4, 6, 8, 16) if size * num_heads != emb_dim]
    config = network.T5Config(
        vocab_size=int(rng.integers(40, 100)),
        emb_dim=emb_dim,
        num_heads=num_heads,
        num_encoder_layers=int(rng.integers(1, 3)),
        num_decoder_layers=int(rng.integers(1, 3)),
        head_dim=int(rng.choice(head_dims)),
        mlp_dim=int(rng.choice([24, 32, 56])),
        mlp_activations=activations,
        dropout_rate=0.0,
        logits_via_embedding=is_tied,
    )
    return Case(kind, seed, config)


CASES = [random_case(seed) for seed in range(20)]


def make_model(config):
    return models.EncoderDecoderModel(
        module=network.Transformer(config),
        input_vocabulary=None,
        output_vocabulary=None,
        optimizer_def=adafactor.Adafactor(),
        decode_fn=decoding.temperature_sample,
    )


def random_state(case):
    """Weights by transformers' names, by its own rules, then changed: its norms all are 1.

    Embeddings are small beside what the layers add, so that decoding doesn't repeat one token.
    """
    torch.manual_seed(case.seed)
    settings = huggingface.config_to_huggingface(case.config)
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**settings))
    rng = np.random.default_rng(case.seed)
    state = {
        name: weight.numpy() * rng.uniform(0.8, 1.7, weight.shape).astype(np.float32)
        for name, weight in model.state_dict().items()
        if "embed_tokens" not in name
    }
    state["shared.weight"] *= 0.2
    state["lm_head.weight"] *= 0.2
    if case.config.logits_via_embedding:
        del state["lm_head.weight"]
    return state


def export(params, config, folder, kind):
    """Writes a model as files for transformers."""
    folder.mkdir()
    settings = huggingface.config_to_huggingface(config)
    if kind == "mT5":
        settings |= {"model_type": "mt5", "architectures": ["MT5ForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(settings))
    state = huggingface.params_to_huggingface(params, config)
    safetensors.save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def read(folder):
    """Reads what transformers wrote; returns the configuration and parameters."""
    config = huggingface.config_from_huggingface(json.loads((folder / "config.json").read_text()))
    state = safetensors.load_file(folder / "model.safetensors")
    return config, huggingface.params_from_huggingface(state, config)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case.kind}-{case.seed}")
def both(request, tmp_path_factory):
    """A model in both worlds, brought here, there, and here again: (config, params, theirs)."""
    case = request.param
    folder = tmp_path_factory.mktemp("parity")
    params = huggingface.params_from_huggingface(random_state(case), case.config)
    export(params, case.config, folder / "ours", case.kind)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "ours").eval()
    theirs.save_pretrained(folder / "theirs")
    config, returned = read(folder / "theirs")
    assert config == case.config
    jax.tree.map(np.testing.assert_array_equal, returned, params)
    return config, params, theirs


class Examples(NamedTuple):
    """Inputs and targets `[examples, length]`, padded, of all lengths up to the greatest."""

    inputs: np.ndarray
    targets: np.ndarray

    def single(self, index):
        return [row[index][row[index] > 0] for row in self]


def make_examples(vocab_size):
    rng = np.random.default_rng(vocab_size)

    def draw(length):
        lengths = np.append(rng.integers(2, length, NUM_EXAMPLES - 1), length)
        tokens = rng.integers(2, vocab_size, (NUM_EXAMPLES, length))
        tokens[np.arange(NUM_EXAMPLES), lengths - 1] = decoding.EOS_ID
        return np.where(np.arange(length) < lengths[:, None], tokens, 0).astype(np.int32)

    return Examples(draw(ENCODER_LENGTH), draw(DECODER_LENGTH))


def shifted(targets):
    return np.pad(targets, ((0, 0), (1, 0)))[:, :-1]


def padded_batch(examples):
    return {
        "encoder_input_tokens": examples.inputs,
        "decoder_input_tokens": shifted(examples.targets),
        "decoder_target_tokens": examples.targets,
    }


def packed_batch(examples):
    """Packs by `PACKED_ROWS`; each example's decoder input begins with 0."""

    def pack(arrays, length):
        rows = [np.concatenate([arrays[index] for index in row]) for row in PACKED_ROWS]
        return np.stack([np.pad(row, (0, length - len(row))) for row in rows]).astype(np.int32)

    inputs, targets = zip(*(examples.single(i) for i in range(NUM_EXAMPLES)), strict=True)
    segments = {i: row.index(i) + 1 for row in PACKED_ROWS for i in row}

    def numbered(arrays):
        return [np.full_like(array, segments[i]) for i, array in enumerate(arrays)]

    return {
        "encoder_input_tokens": pack(inputs, PACKED_ENCODER_LENGTH),
        "decoder_input_tokens": pack([shifted(t[None])[0] for t in targets], PACKED_DECODER_LENGTH),
        "decoder_target_tokens": pack(targets, PACKED_DECODER_LENGTH),
        "encoder_segment_ids": pack(numbered(inputs), PACKED_ENCODER_LENGTH),
        "decoder_segment_ids": pack(numbered(targets), PACKED_DECODER_LENGTH),
    }


def run_ours(config, params, batches):
    """Returns (encoder output, logits, loss per token) for each batch."""
    model = make_model(config)

    def run(params, batch):
        seen = {}

        def keep(call, args, kwargs, context):
            output = call(*args, **kwargs)
            if isinstance(context.module, network.Transformer):
                seen[context.method_name] = output
            return output

        with nn.intercept_methods(keep):
            loss, sums = model.loss_fn(params, batch, None)
        return seen["encode"], seen["__call__"], loss / sums["weight"]

    return jax.jit(lambda p, batches: [run(p, batch) for batch in batches])(params, batches)


def run_theirs(model, inputs, targets):
    """Returns (encoder output, logits, loss per token)."""
    inputs, targets = (torch.tensor(x, dtype=torch.long) for x in (inputs, targets))
    with torch.no_grad():
        output = model(
            input_ids=inputs,
            attention_mask=(inputs > 0).long(),
            labels=torch.where(targets > 0, targets, -100),
        )
    results = output.encoder_last_hidden_state, output.logits, output.loss
    return tuple(x.numpy() for x in results)


def assert_close(ours, theirs, is_real=True):
    """Compares where `is_real`, `[batch, length]`, holds; at padding nothing is promised."""
    difference = np.abs(np.asarray(ours) - theirs)[np.asarray(is_real)]
    assert difference.max() < TOLERANCE, difference.max()


def test_padded_and_packed_batches_give_the_same_numbers(both):
    config, params, theirs = both
    examples = make_examples(config.vocab_size)
    batches = [padded_batch(examples), packed_batch(examples)]
    padded, packed = run_ours(config, params, batches)

    encoded, logits, loss = run_theirs(theirs, *examples)
    assert logits.std() > 0.1, "too little happens to compare"
    assert_close(padded[0], encoded, examples.inputs > 0)
    assert_close(padded[1], logits, examples.targets > 0)
    assert_close(padded[2], loss)

    compare_packed(packed, theirs, examples)


def compare_packed(packed, theirs, examples):
    """Compares a packed batch's results with those of its examples one at a time."""
    losses = []
    for row, indices in enumerate(PACKED_ROWS):
        encoder_start = decoder_start = 0
        for index in indices:
            inputs, targets = examples.single(index)
            encoded, logits, loss = run_theirs(theirs, inputs[None], targets[None])
            encoder_end, decoder_end = encoder_start + len(inputs), decoder_start + len(targets)
            assert_close(packed[0][row, encoder_start:encoder_end], encoded[0])
            assert_close(packed[1][row, decoder_start:decoder_end], logits[0])
            losses += [loss] * len(targets)
            encoder_start, decoder_start = encoder_end, decoder_end
    assert_close(packed[2], np.mean(losses))


def decode_greedily(config, params, inputs):
    """Returns tokens `[examples, STEPS]`; none ends early, so that all steps count."""
    model = make_model(config)
    batch = {
        "encoder_input_tokens": inputs,
        "decoder_input_tokens": np.zeros((NUM_EXAMPLES, STEPS), np.int32),
    }
    settings = {"temperature": 0.0, "eos_id": -1}
    predict = jax.jit(lambda p, b: model.predict_batch(p, b, decoder_params=settings))
    return np.asarray(predict(params, batch))


def test_greedy_decoding_takes_the_same_tokens(both):
    """If theirs prefers our next token after each of our prefixes, it would have taken them all."""
    config, params, theirs = both
    inputs = make_examples(config.vocab_size).inputs
    ours = decode_greedily(config, params, inputs)
    assert len(np.unique(ours)) > 3
    encoder_inputs = torch.tensor(inputs, dtype=torch.long)
    arguments = {"input_ids": encoder_inputs, "attention_mask": (encoder_inputs > 0).long()}
    with torch.no_grad():
        prefixes = torch.tensor(shifted(ours), dtype=torch.long)
        logits = theirs(**arguments, decoder_input_ids=prefixes).logits
    np.testing.assert_array_equal(ours, logits.argmax(-1).numpy())

    # Their cache fails where the decoder has more layers than the encoder.
    if config.num_decoder_layers <= config.num_encoder_layers:
        theirs.generation_config.eos_token_id = None
        generated = theirs.generate(**arguments, max_new_tokens=STEPS, do_sample=False)
        np.testing.assert_array_equal(ours, generated.numpy()[:, 1:])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_every_distance_has_the_same_bucket(bidirectional):
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = np.arange(-1000, 1001)
    ours = layers.relative_position_bucket(distances, bidirectional=bidirectional)
    theirs = T5Attention._relative_position_bucket(
        torch.tensor(distances), bidirectional=bidirectional
    )
    np.testing.assert_array_equal(ours, theirs.numpy())
