"""Training from a cache: the same examples, rows and batches as live, and no surprises."""

import gin
import numpy as np
import pytest
import seqio

from flan_tasks import (
    cached,
    caching,
    mixtures,
    packed,
    sharded_output,
    stream_spec,
    vocabulary,
)
from flan_tasks.caching import Plan
from flan_tasks.converters import FeatureConverter
from flan_tasks.errors import MixtureError, StoreError, VocabularyError
from flan_tasks.prompts import Lengths

LENGTHS = {"inputs": 256, "targets": 64}
SEED = 3
ROWS = 100
WINDOW = 64
MIXTURE = "to_be_cached"


@pytest.fixture(scope="module", autouse=True)
def small_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "WINDOW", WINDOW)
        mixtures.register(MIXTURE, include=["bool_q", "squad_v1", "cot_gsm8k", "cnn_dailymail"])
        packed.register(MIXTURE)
        yield


def write(folder, name=MIXTURE, *, pack, rows=ROWS):
    spec = stream_spec.of_provider(
        name, split="train", seed=SEED, lengths=Lengths(**LENGTHS), num_epochs=None
    )
    spec.open(prepare_missing=True)
    key = packed.key_of(f"{name}_packed", SEED) if pack else None
    caching.write(Plan(spec, rows, WINDOW, key), str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Packed or not -> a cache."""
    parent = tmp_path_factory.mktemp("caches")
    return {pack: write(parent / str(pack), pack=pack) for pack in (False, True)}


@pytest.fixture(params=[False, True], ids=["single", "packed"])
def pack(request):
    return request.param


@pytest.fixture
def task(folders, pack):
    return seqio.get_mixture_or_task(cached.register(folders[pack]))


@pytest.fixture
def live(pack):
    return seqio.get_mixture_or_task(f"{MIXTURE}_packed" if pack else MIXTURE)


def rows_of(provider, count, **arguments):
    arguments = {"sequence_length": LENGTHS, "seed": SEED, "num_epochs": None} | arguments
    return list(provider.get_dataset(**arguments).take(count).as_numpy_iterator())


def equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name].dtype == b[name].dtype
            np.testing.assert_array_equal(a[name], b[name])


def test_it_gives_what_live_training_sees(task, live):
    equal(rows_of(task, ROWS), rows_of(live, ROWS))


def test_some_examples_had_to_be_left_out(folders):
    totals = sharded_output.verify(folders[False])["totals"]
    assert totals["left_out"] > 10 and totals["rows"] >= ROWS


def test_batches_are_those_of_live_training(task, live):
    def batches(provider):
        dataset = seqio.get_dataset(
            provider.name,
            LENGTHS,
            FeatureConverter(pack=True),
            shuffle=True,
            num_epochs=None,
            seed=SEED,
        )
        # seqio's own packing holds back what it has not filled: fewer rows than examples.
        return list(dataset.batch(4).take(5).as_numpy_iterator())

    equal(batches(task), batches(live))


def test_a_task_can_be_cached_too(tmp_path, pack):
    name = "squad_v1_fs_opt"
    live = seqio.get_mixture_or_task(packed.register(name) if pack else name)
    task = seqio.get_mixture_or_task(
        cached.register(write(tmp_path / "cache", name, pack=pack, rows=40))
    )
    found = rows_of(task, 40)
    equal(found, [{name: row[name] for name in found[0]} for row in rows_of(live, 40)])


@pytest.mark.parametrize("num_shards", [2, 3, 8])
def test_each_shard_takes_every_so_manieth_row(task, num_shards):
    whole = rows_of(task, ROWS)
    for index in range(num_shards):
        part = rows_of(task, ROWS, num_epochs=1, shard_info=seqio.ShardInfo(index, num_shards))
        equal(part, whole[index::num_shards])


@pytest.mark.parametrize("shard_info", [None, seqio.ShardInfo(0, 2), seqio.ShardInfo(2, 3)])
def test_entered_where_a_row_says_it_goes_on_after_that(task, shard_info):
    count = ROWS + 30  # beyond the end, too
    whole = rows_of(task.starting_at(0), count, shard_info=shard_info)
    for place in (0, 1, 17, 98, 99, 100, 128):
        later = task.starting_at(int(whole[place]["resume_at"]))
        found = rows_of(later, count - 1 - place, shard_info=shard_info)
        equal(found, whole[place + 1 :])


def test_resume_at_is_there_only_where_a_start_is(task):
    assert "resume_at" not in rows_of(task, 1)[0]
    [first, second] = rows_of(task.starting_at(0), 2)
    assert (first["resume_at"], second["resume_at"]) == (1, 2)


def warnings_in(caplog):
    return [record.getMessage() for record in caplog.records if "again" in record.getMessage()]


def test_going_around_again_is_told_of(task, caplog):
    whole = rows_of(task, 2 * ROWS + 5)
    equal(whole[ROWS : 2 * ROWS], whole[:ROWS])
    first = warnings_in(caplog)[0]
    assert f"{task.source.directory}: training beyond {ROWS} rows sees the same {ROWS}" in first
    caplog.clear()
    rows_of(task.starting_at(5 * ROWS), 1)
    assert warnings_in(caplog), "a training that goes on there is told, too"


def test_epochs_that_were_asked_for_end_without_a_warning(task, caplog):
    assert len(rows_of(task, 10**6, num_epochs=1)) == ROWS
    assert len(rows_of(task, 10**6, num_epochs=3)) == 3 * ROWS
    assert not warnings_in(caplog)


def test_other_lengths_are_refused(task, pack):
    with pytest.raises(MixtureError, match=r"inputs of 255 tokens .* cached is 256"):
        task.get_dataset(LENGTHS | {"inputs": 255})
    with pytest.raises(MixtureError, match=r"targets of 8 tokens .* cached is 64"):
        task.get_dataset(LENGTHS | {"targets": 8})
    longer = LENGTHS | {"targets": 128}
    if pack:
        with pytest.raises(MixtureError, match=r"targets of 128 tokens .* cached is 64"):
            task.get_dataset(longer)
    else:
        equal(rows_of(task, 10, sequence_length=longer), rows_of(task, 10))
    equal(rows_of(task, 10, sequence_length=None), rows_of(task, 10))


def test_another_seed_or_split_is_refused(task):
    equal(rows_of(task, 10, seed=None), rows_of(task, 10))
    with pytest.raises(MixtureError, match=r"seed 4 .* cached is 3\n.*--seed 4"):
        task.get_dataset(LENGTHS, seed=4)
    with pytest.raises(MixtureError, match=r"'validation' .* cached is 'train'"):
        task.get_dataset(LENGTHS, split="validation")
    assert task.splits == ("train",)
    assert task.num_input_examples("train") == ROWS


def test_another_vocabulary_is_refused_wherever_it_lies(task, tmp_path):
    def use(path):
        with gin.unlock_config():
            gin.bind_parameter("flan_tasks.vocabulary.settings.path", str(path))

    before = vocabulary.settings().path
    model = vocabulary.SMALL_VOCABULARY.read_bytes()
    (tmp_path / "moved.model").write_bytes(model)
    # A further field of the protocol buffer: another model for us, the same for SentencePiece.
    (tmp_path / "other.model").write_bytes(model + b"\xc2\x3e\x01x")
    try:
        use(tmp_path / "moved.model")
        equal(rows_of(task, 3), rows_of(task, 3))
        use(tmp_path / "other.model")
        with pytest.raises(VocabularyError, match=r"other\.model.*not the one.*small\.model"):
            task.get_dataset(LENGTHS)
    finally:
        use(before)


def test_registering_twice_is_once_and_another_cache_needs_another_name(folders, pack, tmp_path):
    name = cached.register(folders[pack])
    assert name == f"{MIXTURE}{'_packed' if pack else ''}_cached" == cached.register(folders[pack])
    other = write(tmp_path / "other", pack=pack, rows=10)
    with pytest.raises(MixtureError, match=r"cached\.register\.name"):
        cached.register(other)
    assert cached.register(other, name=f"other_{pack}") == f"other_{pack}"
    assert len(rows_of(seqio.get_mixture_or_task(f"other_{pack}"), 99, num_epochs=1)) == 10


def test_gin_names_it(folders):
    with gin.unlock_config():
        gin.parse_config(
            "from __gin__ import dynamic_registration\n"
            "from flan_tasks import cached\n"
            f"cached.register.directory = '{folders[False]}'\n"
            "cached.register.name = 'by_gin'\n"
        )
    assert gin.get_configurable("flan_tasks.cached.register")() == "by_gin"
    assert "by_gin" in seqio.TaskRegistry.names()


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(StoreError, match="no finished output here"):
        cached.register(str(tmp_path))
