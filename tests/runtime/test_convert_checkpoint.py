"""tools/convert_checkpoint.py: what goes in comes out, in every format, or is refused by name."""

import importlib.util
import json
import pathlib
import runpy
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bucket import serving
from flax import traverse_util
from published import write_legacy, write_orbax, write_orbax_folders

from t5x import adafactor, checkpoints, layout
from t5x.trainer import TrainState
from t5x.weights import conversion, sources
from t5x.weights.sources import Format

ROOT = pathlib.Path(__file__).parents[2]
SEQIO = pathlib.Path(importlib.util.find_spec("seqio").origin).parent
VOCABULARY = SEQIO / "test_data" / "sentencepiece" / "sentencepiece.model"
STEP = 7
WEIGHT = "encoder.block.1.layer.0.SelfAttention.q.weight"
KERNEL = "target/encoder/layers_1/attention/query/kernel"


@pytest.fixture(scope="module")
def tool():
    """The program's main function."""
    return runpy.run_path(str(ROOT / "tools" / "convert_checkpoint.py"))["main"]


@pytest.fixture(scope="module")
def leaves(tiny_params):
    """{name on disk: array} as Adafactor leaves them, kernels of MLPs factored; norms not all 1."""
    rng = np.random.default_rng(0)
    optimizer = adafactor.Adafactor(min_dim_size_to_factor=16).transformation()
    state = TrainState(jnp.int32(STEP), tiny_params, optimizer.init(tiny_params))
    named = {name: np.asarray(leaf) for name, leaf in layout.flatten(state).items()}
    named = {
        name: leaf if leaf.dtype == np.int32 else rng.normal(size=leaf.shape).astype(np.float32)
        for name, leaf in named.items()
    }
    named |= dict.fromkeys(layout.counts(named), np.int32(STEP))
    # Of the optimizer's memory some is enough.
    named = {
        name: leaf for name, leaf in named.items() if "/param_states/" not in name or "/wo/" in name
    }
    return named | dict.fromkeys(layout.momentum_slots(named), layout.PLACEHOLDER)


@pytest.fixture(scope="module")
def published(tmp_path_factory, leaves):
    """A checkpoint in each of T5X's formats."""
    folder = tmp_path_factory.mktemp("published")
    write_legacy(folder / "legacy", leaves)
    write_orbax(folder / "orbax", leaves)
    write_orbax_folders(folder / "folders", leaves)
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory, published, tool):
    """The legacy one as ours and as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("converted")
    assert tool([str(published / "legacy"), str(folder / f"checkpoint_{STEP}")]) == 0
    arguments = ["--vocabulary", str(VOCABULARY), "--set", "dropout_rate=0.0"]
    assert tool([str(folder / f"checkpoint_{STEP}"), str(folder / "hf"), *arguments]) == 0
    return folder


@pytest.fixture
def ours(converted):
    return converted / f"checkpoint_{STEP}"


def read(path):
    source = sources.open_source(path)
    return {name: leaf.read() for name, leaf in source.leaves.items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def parameters(leaves):
    return {name: leaf for name, leaf in leaves.items() if name.startswith("target/")}


def test_every_format_is_recognized(published, converted, ours):
    expected = {
        published / "legacy": Format.LEGACY,
        published / "orbax": Format.ORBAX_DATABASE,
        published / "folders": Format.ORBAX_FOLDERS,
        ours: Format.ENGINE,
        converted / "hf": Format.HUGGING_FACE,
    }
    for path, kind in expected.items():
        source = sources.open_source(path)
        assert (source.format, source.step) == (kind, STEP)


@pytest.mark.parametrize("kind", ["legacy", "orbax", "folders"])
def test_t5x_to_ours_keeps_every_leaf_bit_by_bit(tmp_path, tool, published, leaves, kind):
    assert_same(read(published / kind), leaves)
    made = tmp_path / "checkpoint_7"
    assert tool([str(published / kind), str(made)]) == 0
    assert_same(read(made), leaves)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint_7"]
    checkpoints.check(made)
    assert checkpoints.steps(tmp_path) == [STEP] and checkpoints.step_of(made) == STEP


@pytest.mark.parametrize("arguments", [[], ["--shard_gb", "1e-6"]], ids=["single", "sharded"])
def test_ours_to_hugging_face_and_back_is_exact(tmp_path, tool, ours, leaves, arguments):
    assert tool([str(ours), str(tmp_path / "hf"), *arguments]) == 0
    files = sorted(path.name for path in (tmp_path / "hf").glob("*.safetensors*"))
    assert (len(files) > 2) == bool(arguments)
    assert tool([str(tmp_path / "hf"), str(tmp_path / "checkpoint_0")]) == 0
    assert_same(
        read(tmp_path / "checkpoint_0"), parameters(leaves) | {"state/step": np.int32(STEP)}
    )


def test_stacked_and_back_is_exact(tmp_path, tool, ours, leaves):
    assert tool([str(ours), str(tmp_path / "checkpoint_1"), "--scan_layers"]) == 0
    stacked = read(tmp_path / "checkpoint_1")
    kernels = [leaves[f"target/decoder/layers_{i}/mlp/wo/kernel"] for i in range(2)]
    np.testing.assert_array_equal(stacked["target/decoder/layers/mlp/wo/kernel"], kernels)
    rows = [leaves[f"state/param_states/decoder/layers_{i}/mlp/wo/kernel/v_row"] for i in range(2)]
    name = "state/param_states/decoder/layers/mlp/wo/kernel/v_row"
    np.testing.assert_array_equal(stacked[name], rows)
    assert tool([str(tmp_path / "checkpoint_1"), str(tmp_path / "hf")]) == 0
    assert_same(parameters(read(tmp_path / "hf")), parameters(leaves))
    assert (
        tool([str(tmp_path / "checkpoint_1"), str(tmp_path / "checkpoint_2"), "--no-scan_layers"])
        == 0
    )
    assert_same(read(tmp_path / "checkpoint_2"), leaves)


def test_bfloat16_within_its_precision(tmp_path, tool, ours, leaves):
    assert tool([str(ours), str(tmp_path / "hf"), "--dtype", "bfloat16"]) == 0
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["dtype"] == "bfloat16"
    assert tool([str(tmp_path / "hf"), str(tmp_path / "checkpoint_0"), "--dtype", "float32"]) == 0
    for name, value in parameters(read(tmp_path / "checkpoint_0")).items():
        expected = leaves[name].astype(jnp.bfloat16).astype(np.float32)
        np.testing.assert_array_equal(value, expected)
        np.testing.assert_allclose(value, leaves[name], rtol=2**-8)


def test_what_t5x_scanned_reads_as_side_by_side(tmp_path, leaves, tool, capsys):
    """t5x/examples/scalable_t5: layers along the second axis, heads apart, biases in each layer."""
    made = {name: x for name, x in parameters(leaves).items() if "/layers_" not in name}
    for stack in ("encoder", "decoder"):
        start = f"target/{stack}/layers_0/"
        for name in [name for name in leaves if name.startswith(start)]:
            rest = name.removeprefix(start)
            layers = [leaves[f"target/{stack}/layers_{i}/{rest}"] for i in range(2)]
            if "attention/" in rest:
                apart = (4, 8, -1) if "/out/" in rest else (-1, 4, 8)
                layers = [layer.reshape(apart) for layer in layers]
            made[f"target/{stack}/{stack}/{rest}"] = np.stack(layers, axis=1)
        bias = made.pop(f"target/{stack}/relpos_bias/rel_embedding")
        made[f"target/{stack}/{stack}/relpos_bias/rel_embedding"] = np.stack([bias] * 2, axis=1)
    write_legacy(tmp_path / "scalable", made | {"state/step": leaves["state/step"]})
    assert tool([str(tmp_path / "scalable"), str(tmp_path / "hf")]) == 0
    assert_same(parameters(read(tmp_path / "hf")), parameters(leaves))

    made["target/encoder/encoder/relpos_bias/rel_embedding"][0, 1, 0] += 1
    write_legacy(tmp_path / "own", made | {"state/step": leaves["state/step"]})
    assert tool([str(tmp_path / "own"), str(tmp_path / "hf2")]) == 1
    assert "position biases of its own" in capsys.readouterr().err


def test_read_from_a_bucket(tmp_path, monkeypatch, tool, leaves):
    some = ("state/step", KERNEL, "target/token_embedder/embedding")
    leaves = {name: leaves[name] for name in some}
    for kind, write in {"legacy": write_legacy, "orbax": write_orbax}.items():
        write(tmp_path / "buckets" / "models" / "t5" / kind, leaves)
    with serving(tmp_path / "buckets", monkeypatch) as was_read:
        for kind in ("legacy", "orbax"):
            made = tmp_path / kind / "checkpoint_7"
            assert tool([f"gs://models/t5/{kind}", str(made)]) == 0
            assert_same(read(made), leaves)
            assert any(place.startswith(f"models/t5/{kind}/") for place in was_read)


def test_hugging_face_folders_in_buckets_are_refused(
    tmp_path, monkeypatch, tool, converted, capsys
):
    shutil.copytree(converted / "hf", tmp_path / "models" / "hf")
    with serving(tmp_path, monkeypatch):
        assert tool(["gs://models/hf", str(tmp_path / "checkpoint_7")]) == 1
    assert "gcloud storage cp -r gs://models/hf" in capsys.readouterr().err


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def cut_weights(folder):
    cut(folder / "model.safetensors")


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def wider(folder):
    edit(folder / "config.json", d_ff=64)


def deeper(folder):
    edit(folder / "config.json", num_layers=3)


def shallower(folder):
    edit(folder / "config.json", num_layers=1)


def only_config(folder):
    (folder / "model.safetensors").unlink()


def missing_shard(folder):
    only_config(folder)
    index = {"weight_map": {WEIGHT: "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (cut_weights, ["model.safetensors", "it is cut off: ", "weight would end at byte"]),
        (
            pickle_only,
            ["pytorch_model.bin: a pickle, which may run any program", "save_pretrained"],
        ),
        (wider, ["model.safetensors", "DenseReluDense.wi_0.weight is [32, 16]", "says [64, 16]"]),
        (deeper, ["encoder.block.2.layer.0.layer_norm.weight is missing"]),
        (shallower, ["encoder.block.1.", "is no parameter of such a model"]),
        (only_config, ["it has a config.json, and no model.safetensors"]),
        (missing_shard, ["model-00001-of-00002.safetensors: this file is missing", WEIGHT]),
    ],
)
def test_damaged_folders_are_refused_by_file_and_leaf(
    tmp_path, tool, converted, capsys, damage, parts
):
    shutil.copytree(converted / "hf", tmp_path / "hf")
    damage(tmp_path / "hf")
    assert tool([str(tmp_path / "hf"), str(tmp_path / "new" / "checkpoint_7")]) == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "hf") in error
    for part in parts:
        assert part in error
    assert not [*tmp_path.glob("new/*")], "nothing half-written is left"


@pytest.mark.parametrize("kind", ["legacy", "folders"])
def test_cut_and_lost_arrays_are_refused_by_file_and_leaf(tmp_path, tool, published, capsys, kind):
    name = "target/token_embedder/embedding"
    shutil.copytree(published / kind, tmp_path / kind)
    (folder,) = (path for path in tmp_path.rglob(name.replace("/", ".")) if path.is_dir())
    cut(folder / "0.0")
    assert tool([str(tmp_path / kind), str(tmp_path / "new" / "checkpoint_7")]) == 1
    error = capsys.readouterr().err
    assert f"{name} can't be read from {folder}" in error
    assert not [*tmp_path.glob("new/*")], "nothing half-written is left"
    shutil.rmtree(folder)
    assert tool(["inspect", str(tmp_path / kind)]) == 1
    assert f"{name} can't be read from {folder}" in capsys.readouterr().err


def test_unknown_formats_and_taken_places_are_refused(tmp_path, tool, ours, capsys):
    (tmp_path / "notes.txt").write_text("no weights")
    for path, message in {
        tmp_path: "no checkpoint of a known format",
        tmp_path / "nowhere": "no such checkpoint",
        tmp_path / "notes.txt": "this is a file",
        ours.parent: f"name one, such as {ours}",
    }.items():
        assert tool(["inspect", str(path)]) == 1
        assert message in capsys.readouterr().err
    assert tool([str(ours), str(tmp_path)]) == 1
    assert "it is there already" in capsys.readouterr().err
    assert tool([str(ours), "gs://models/hf"]) == 1
    assert "gcloud storage cp" in capsys.readouterr().err


def test_a_missing_parameter_is_named(tmp_path, tool, leaves, capsys):
    write_legacy(tmp_path / "old", {name: x for name, x in leaves.items() if name != KERNEL})
    assert tool([str(tmp_path / "old"), str(tmp_path / "hf")]) == 1
    assert KERNEL.removeprefix("target/") in capsys.readouterr().err
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize("name", ["hf", "checkpoint_9"])
def test_an_interrupted_conversion_leaves_nothing(tmp_path, ours, name):
    options = conversion.Options()
    plan = conversion.plan(ours, tmp_path / name, options)
    count = 0

    def written(_):
        nonlocal count
        count += 1
        if count == 3:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        conversion.run(plan, options, written)
    assert not [*tmp_path.iterdir()]


def test_inspect_counts_and_measures(tool, ours, leaves, capsys):
    assert tool(["inspect", str(ours), "--stats", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["step"] == STEP
    assert about["parameters"] == sum(leaf.size for leaf in parameters(leaves).values())
    assert about["bytes"] == sum(leaf.nbytes for leaf in leaves.values())
    for row in about["leaves"]:
        expected = leaves[row["name"]]
        assert (row["shape"], row["dtype"]) == ([*expected.shape], str(expected.dtype))
        np.testing.assert_allclose(row["norm"], np.linalg.norm(expected), rtol=1e-5)
        assert (row["smallest"], row["largest"]) == (expected.min(), expected.max())
    assert tool(["inspect", str(ours)]) == 0
    table = capsys.readouterr().out
    assert Format.ENGINE.value in table and KERNEL in table


def test_diff_names_what_differs(tmp_path, tool, ours, converted, leaves, capsys):
    assert tool(["diff", str(ours), str(converted / "hf")]) == 0
    assert "0 of 52 arrays differ" in capsys.readouterr().out
    changed = leaves | {KERNEL: leaves[KERNEL] * 1.001, "target/more": np.zeros(3, np.float32)}
    del changed["target/encoder/encoder_norm/scale"]
    write_legacy(tmp_path / "changed", changed)
    assert tool(["diff", str(ours), str(tmp_path / "changed")]) == 1
    out = capsys.readouterr().out
    assert f"{KERNEL}: 100.00% of its numbers differ, by at most" in out
    assert "target/more: only in the second" in out
    assert "target/encoder/encoder_norm/scale: only in the first" in out
    tolerant = ["diff", str(ours), str(tmp_path / "changed"), "--tolerance", "0.01"]
    assert tool(tolerant) == 1
    assert KERNEL not in capsys.readouterr().out


def test_transformers_load_it_and_generate_the_same(converted, leaves, tiny_config):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from t5x import decoding, models
    from t5x.examples.t5 import network

    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(converted / "hf").eval()
    model = models.EncoderDecoderModel(
        module=network.Transformer(tiny_config.replace(dropout_rate=0.0)),
        input_vocabulary=None,
        output_vocabulary=None,
        optimizer_def=adafactor.Adafactor(),
        decode_fn=decoding.temperature_sample,
    )
    flat = {name.removeprefix("target/"): x for name, x in parameters(leaves).items()}
    params = traverse_util.unflatten_dict(flat, sep="/")
    inputs = np.array([[5, 9, 3, 17, 1], [4, 30, 1, 0, 0]], np.int32)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": np.zeros((2, 12), np.int32)}
    greedily = jax.jit(
        lambda p, b: model.predict_batch(p, b, decoder_params={"temperature": 0.0, "eos_id": -1})
    )
    ours = np.asarray(greedily(params, batch))
    tokens = torch.tensor(inputs, dtype=torch.long)
    theirs.generation_config.eos_token_id = None
    generated = theirs.generate(
        input_ids=tokens, attention_mask=(tokens > 0).long(), max_new_tokens=12, do_sample=False
    )
    np.testing.assert_array_equal(ours, generated.numpy()[:, 1:])


def test_vocabularies_that_transformers_would_read_otherwise_are_refused(
    tmp_path, tool, ours, capsys
):
    ours_alone = str(ROOT / "flan_tasks" / "vocabularies" / "small.model")
    for vocabulary, message in {ours_alone: "other tokens", "nowhere": "no such file"}.items():
        assert tool([str(ours), str(tmp_path / "hf"), "--vocabulary", vocabulary]) == 1
        assert message in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_transformers_tokenize_as_seqio_does(converted):
    transformers = pytest.importorskip("transformers")
    seqio = pytest.importorskip("seqio")
    theirs = transformers.AutoTokenizer.from_pretrained(converted / "hf")
    ours = seqio.SentencePieceVocabulary(str(VOCABULARY), extra_ids=100)
    assert len(theirs) == ours.vocab_size
    for text in ("this is  a test", "a <extra_id_0> is <extra_id_99>", "it is ün test\n"):
        assert theirs(text).input_ids == [*ours.encode(text), 1]
