"""Starting from checkpoints of other formats and of other models; every leaf is accounted for."""

import pathlib
import re

import gin
import jax
import numpy as np
import pytest
from flax import traverse_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from published import write_legacy

from t5x import adafactor, checkpoints, models, train, utils, weights
from t5x.errors import T5XError
from t5x.examples.t5 import network
from t5x.partitioning import PjitPartitioner, standard_logical_axis_rules
from t5x.trainer import Trainer, abstract_inference_state
from t5x.weights import conversion, leaves, placing

STEP = 7
SHAPES = {"encoder_input_tokens": (8, 12), "decoder_input_tokens": (8, 8)}
EMBEDDING, OUTPUT = "token_embedder/embedding", "decoder/logits_dense/kernel"


def flat(params):
    return traverse_util.flatten_dict(params, sep="/")


def make_model(config):
    return models.EncoderDecoderModel(
        module=network.Transformer(config),
        input_vocabulary=None,
        output_vocabulary=None,
        optimizer_def=adafactor.Adafactor(),
    )


def make_partitioner():
    return PjitPartitioner(
        num_partitions=2,
        logical_axis_rules=standard_logical_axis_rules(parameter_partitioning_dims=2),
    )


@pytest.fixture(scope="module")
def params(tiny_params):
    """The checkpoint's parameters by name."""
    rng = np.random.default_rng(1)
    return {
        name: rng.normal(size=leaf.shape).astype(np.float32)
        for name, leaf in flat(tiny_params).items()
    }


@pytest.fixture(scope="module")
def path(tmp_path_factory, params):
    """A checkpoint of two layers a side, vocabulary 32, without optimizer."""
    path = tmp_path_factory.mktemp("partial") / f"checkpoint_{STEP}"
    named = {f"target/{name}": leaf for name, leaf in params.items()}
    write_legacy(path, named | {"state/step": np.int32(STEP)})
    return path


@pytest.fixture(scope="module")
def expected_of(tiny_config):
    """What a model with some settings changed expects, on eight devices."""

    def make(**changes):
        return abstract_inference_state(
            make_model(tiny_config.replace(**changes)), make_partitioner()
        )

    return make


FRESH = 0.5


def scratch(expected):
    """Initializes every parameter with `FRESH`."""

    def compute(choose):
        return jax.tree.map(
            lambda leaf: jax.device_put(np.full(leaf.shape, FRESH, leaf.dtype), leaf.sharding),
            choose(expected),
        )

    return compute


def start(expected, path, *, fallback_to_scratch=False, **settings):
    """What evaluation would begin with, or training but for the optimizer."""
    config = utils.RestoreCheckpointConfig(str(path), mode="specific", **settings)
    return checkpoints.restore(
        config.one_path(),
        expected,
        optimizer=False,
        scratch=scratch(expected) if fallback_to_scratch else None,
        transformations=config.transformations(),
    )


def assert_placed(state, expected):
    jax.tree.map(
        lambda leaf, expected: (
            np.testing.assert_equal(leaf.sharding, expected.sharding),
            np.testing.assert_equal(leaf.shape, expected.shape),
        ),
        state,
        expected,
    )


def test_a_run_starts_from_a_hugging_face_folder(tmp_path, path, params, tiny_config, capsys):
    options = conversion.Options()
    conversion.run(conversion.plan(path, tmp_path / "hf", options), options)
    trainer = Trainer(
        make_model(tiny_config),
        make_partitioner(),
        jax.random.key(3),
        SHAPES,
        learning_rate_fn=lambda step: 0.1,
    )
    config = utils.RestoreCheckpointConfig(str(tmp_path / "hf"), mode="specific")
    state = train._initial_state(trainer, config)
    assert "optimizer starts afresh" in capsys.readouterr().out
    assert int(state.step) == STEP
    assert_placed(state, trainer.abstract_state)
    for name, leaf in flat(state.params).items():
        np.testing.assert_array_equal(leaf, params[name])

    def choose(state):
        return state.params["encoder"]["encoder_norm"], state.params["decoder"]["relpos_bias"]

    part, whole = trainer.initial_part(choose), trainer.initial_state()
    jax.tree.map(np.testing.assert_array_equal, part, choose(whole))
    assert_placed(part, choose(trainer.abstract_state))


def test_new_vocabulary_rows(path, params, expected_of, capsys):
    expected = expected_of(vocab_size=40)
    with pytest.raises(T5XError, match=r"embedding is \[32, 16\] there and \[40, 16\]"):
        start(expected, path, fallback_to_scratch=True)
    rules = {"state_transformation_fns": [weights.resize()]}
    with pytest.raises(T5XError, match="needs new rows, and nothing initializes them"):
        start(expected, path, **rules)
    state = start(expected, path, fallback_to_scratch=True, **rules)
    found = flat(state.params)
    np.testing.assert_array_equal(found[EMBEDDING][:32], params[EMBEDDING])
    np.testing.assert_array_equal(found[EMBEDDING][32:], FRESH)
    np.testing.assert_array_equal(found[OUTPUT][:, :32], params[OUTPUT])
    np.testing.assert_array_equal(found[OUTPUT][:, 32:], FRESH)
    for name in params.keys() - {EMBEDDING, OUTPUT}:
        np.testing.assert_array_equal(found[name], params[name])
    assert_placed(state, expected)
    assert "resized" in capsys.readouterr().out


def test_fewer_rows_need_nothing_fresh(path, params, expected_of):
    state = start(expected_of(vocab_size=24), path, state_transformation_fns=[weights.resize()])
    np.testing.assert_array_equal(flat(state.params)[EMBEDDING], params[EMBEDDING][:24])


def test_a_deeper_model(path, params, expected_of):
    """Its third layer is the second once more; in T5X the same rule does the same."""
    expected = expected_of(num_decoder_layers=3)
    with pytest.raises(T5XError, match=r"decoder/layers_2/\S+ is not in it"):
        start(expected, path)
    again = [(r"target/decoder/layers_2/(.*)", r"target/decoder/layers_1/\1")]
    with pytest.raises(T5XError, match=r"decoder/layers_1/\S+ is not in it"):
        checkpoints.restore(
            path,
            expected,
            optimizer=False,
            transformations=[weights.leave_out("target/decoder/layers_1/.*")],
        )
    found = flat(start(expected, path, assignment_map=again).params)
    for name in [name for name in found if name.startswith("decoder/layers_2/")]:
        np.testing.assert_array_equal(found[name], params[name.replace("layers_2", "layers_1")])
    found = flat(start(expected, path, fallback_to_scratch=True).params)
    for name in found:
        np.testing.assert_array_equal(found[name], params.get(name, FRESH))


def test_a_shallower_model_needs_to_be_told_what_to_leave_out(path, params, expected_of):
    expected = expected_of(num_encoder_layers=1)
    with pytest.raises(T5XError) as refused:
        start(expected, path, fallback_to_scratch=True)
    table = str(refused.value).partition("\n\n")[2].splitlines()
    name = "target/encoder/layers_*/mlp/wo/kernel"
    assert any(line.split() == ["left", "over", name, "[32,", "16]", "-"] for line in table)
    matched = [line for line in table if line.startswith("matched")]
    assert any("target/decoder/layers_*/mlp/wo/kernel x 2" in line for line in matched)
    drop = [weights.leave_out("target/encoder/layers_1/.*")]
    found = flat(start(expected, path, state_transformation_fns=drop).params)
    assert found.keys() == {name for name in params if "encoder/layers_1/" not in name}


def test_the_encoder_only(path, params, expected_of):
    """As with T5X: None in the map, and the rest from scratch."""
    expected = expected_of()
    decoder = {"assignment_map": [("target/decoder/.*", None)]}
    with pytest.raises(T5XError, match=r"target/decoder/\S+ is not in it"):
        start(expected, path, **decoder)
    found = flat(start(expected, path, fallback_to_scratch=True, **decoder).params)
    for name in found:
        expected_leaf = FRESH if name.startswith("decoder/") else params[name]
        np.testing.assert_array_equal(found[name], expected_leaf)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"assignment_map": [("target/nothing", "x")]}, "no parameter of the model matches"),
        (
            {"assignment_map": [("target/(.*)_norm/scale", "gone")]},
            "not in the checkpoint",
        ),
        ({"state_transformation_fns": [weights.leave_out("x")]}, "no leaf of the checkpoint"),
        ({"state_transformation_fns": [weights.resize("x")]}, "no leaf that both have"),
    ],
)
def test_rules_without_effect_are_refused(path, expected_of, settings, message):
    with pytest.raises(T5XError, match=message):
        start(expected_of(), path, **settings)


def test_functions_of_ones_own_are_called_as_t5x_calls_them(path, params, expected_of):
    def swap(checkpoint, model, *, is_resuming):
        assert not is_resuming
        assert model["target"]["token_embedder"]["embedding"].shape == (32, 16)
        encoder = dict(checkpoint["target"]["encoder"])
        encoder["layers_0"], encoder["layers_1"] = encoder["layers_1"], encoder["layers_0"]
        return checkpoint | {"target": checkpoint["target"] | {"encoder": encoder}}

    found = flat(start(expected_of(), path, state_transformation_fns=[swap]).params)
    name = "encoder/layers_0/mlp/wo/kernel"
    np.testing.assert_array_equal(found[name], params[name.replace("layers_0", "layers_1")])


def test_stacked_models_start_from_checkpoints_side_by_side(path, params, tiny_config):
    model = make_model(tiny_config.replace(scan_layers=True))
    target = abstract_inference_state(model, make_partitioner())
    state = checkpoints.restore(path, target, optimizer=False, dtype="bfloat16")
    stacked = state.params["decoder"]["layers"]["mlp"]["wo"]["kernel"]
    expected = np.stack([params[f"decoder/layers_{i}/mlp/wo/kernel"] for i in range(2)])
    np.testing.assert_array_equal(stacked, expected.astype(stacked.dtype))
    assert stacked.dtype == "bfloat16"


def test_a_process_reads_no_more_than_its_devices_hold(monkeypatch):
    """Two of eight devices are this process's: it reads their quarter of the rows, once."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("data",), ()))
    array = np.arange(64, dtype=np.float32).reshape(16, 4)
    asked = []

    def read(part, dtype):
        asked.append(part)
        return array[part].astype(dtype)

    leaf = leaves.Leaf(array.shape, array.dtype, read)
    for sharding in (split, whole):
        target = jax.ShapeDtypeStruct(array.shape, np.float32, sharding=sharding)
        placed = placing.read({"x": leaf}, {"x": target})["x"]
        np.testing.assert_array_equal(placed, array)
        assert placed.sharding == sharding
    assert asked == [(slice(0, 16), slice(0, 4))] * 2, "once, however many devices"

    indices = split.devices_indices_map(array.shape)
    mine = [index for device, index in indices.items() if device.id in (4, 5)]
    assert placing.bounding_box(mine, array.shape) == (slice(8, 12), slice(0, 4))


def restoring(config):
    return config.transformations()


def test_gin_lines_of_the_page_give_rules():
    page = pathlib.Path(__file__).parents[2] / "docs" / "checkpoints.md"
    lines = page.read_text().split("from t5x import weights\n")[1].split("```")[0]
    recipes = [recipe for recipe in re.split(r"\n(?=# )", lines) if recipe.strip()]
    assert len(recipes) == 4
    for recipe in recipes:
        with gin.unlock_config():
            gin.clear_config()
            gin.parse_config(
                "from __gin__ import dynamic_registration\n"
                "from t5x import utils\n"
                "from t5x import weights\n"
                f"import {__name__} as page\n"
                "page.restoring.config = @utils.RestoreCheckpointConfig()\n"
                f"utils.RestoreCheckpointConfig.path = 'x'\n{recipe}"
            )
            (rule,) = gin.get_configurable(restoring)()
        assert callable(rule)
    gin.clear_config()
