"""TFDS for real: a small dataset is prepared by TFDS itself and read back as plain rows."""

import dataclasses
import pathlib
import zipfile

import numpy as np
import pytest
import seqio
import tensorflow_datasets as tfds

from flan_tasks import readers, sources, store, tfds_source
from flan_tasks.errors import SourceError
from flan_tasks.origin import Unavailable
from flan_tasks.spec import Answer, Dataset, Source

ROWS = [
    {
        "question": f"Wie spät ist es? {number}",
        "label": number % 2,
        "answers": [{"text": f"a{number}", "start": number}, {"text": "b", "start": 0}],
        "turns": [["x", "y"], ["z"]][: number % 3],
    }
    for number in range(20)
]


class WeatherQuestions(tfds.core.GeneratorBasedBuilder):
    """Twenty rows, with every kind of feature that text datasets have."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "question": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(num_classes=2),
                    "answers": tfds.features.Sequence(
                        {"text": tfds.features.Text(), "start": np.int32}
                    ),
                    "turns": tfds.features.Sequence(tfds.features.Sequence(tfds.features.Text())),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": enumerate(ROWS[:16]), "test": enumerate(ROWS[16:])}

    def _generate_examples(self, rows):
        yield from rows


def card(name: str = "weather_questions:1.0.0") -> Dataset:
    return Dataset(
        name="weather",
        family="weather",
        collection="flan2021",
        kind="question answering",
        homepage="",
        license="",
        citation="",
        source=Source(tfds=name),
        splits={"train": "train[:-4]", "validation": "train[-25%:]", "test": "test"},
        num_examples={"train": 12, "validation": 4, "test": 4},
        fields={"question": "question", "label": "label"},
        answer=Answer(label="label", options=("no", "yes")),
        metrics=("accuracy",),
        templates=(),
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A TFDS data directory in which the first use has prepared the dataset."""
    folder = str(tmp_path_factory.mktemp("tfds"))
    with pytest.raises(Unavailable, match=r"not prepared in"):
        tfds_source.locate("weather_questions:1.0.0", "train", folder, fetch=False)
    tfds_source.locate("weather_questions:1.0.0", "train", folder, fetch=True)
    assert list(pathlib.Path(folder, "weather_questions", "1.0.0").glob("*train*"))
    return folder


@pytest.fixture
def settings(data_dir, tmp_path):
    return sources.settings(tfds_data_dir=data_dir, store_dir=str(tmp_path), use=("tfds",))


def test_rows_are_plain_python_values_in_file_order(settings):
    rows = list(sources.raw_rows(card(), "train", settings))
    assert [row["question"] for row in rows] == [row["question"] for row in ROWS[:16]]
    assert rows[5] == {
        "question": "Wie spät ist es? 5",
        "label": 1,
        "answers": {"text": ["a5", "b"], "start": [5, 0]},
        "turns": [["x", "y"], ["z"]],
    }
    assert type(rows[5]["label"]) is int and rows[0]["turns"] == []


def test_slices_mean_what_they_mean_to_tfds(settings):
    for split, instruction in card().splits.items():
        found = sources.find_split(card(), split, "tfds", settings, fetch=False)
        direct = tfds.load(
            "weather_questions:1.0.0", split=instruction, data_dir=settings.tfds_data_dir
        )
        wanted = [row["question"].decode() for row in tfds.as_numpy(direct)]
        assert [row["question"] for row in found.rows()] == wanted


def test_a_split_is_prepared_from_tfds(settings):
    split = store.open_split(card(), "validation", settings)
    assert split.origin.startswith("tfds: ") and split.num_rows == 4
    assert split.read(np.array([3]))["question"] == [ROWS[15]["question"]]


def test_the_trainers_tfds_directory_is_honoured(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    settings = sources.settings(use=("tfds",), store_dir=str(tmp_path))
    assert not sources.availability(card(), settings)[0].ok
    seqio.set_tfds_data_dir_override(data_dir)
    try:
        assert sources.availability(card(), settings)[0].ok
    finally:
        seqio.set_tfds_data_dir_override(None)
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    assert sources.availability(card(), settings)[0].ok


def test_a_dataset_that_tfds_does_not_know_is_an_error_with_the_command(settings):
    with pytest.raises(SourceError, match=r"(?s)tfds: no_such_data:1.0.0.*tfds build no_such_data"):
        store.open_split(card("no_such_data:1.0.0"), "train", settings)


def test_another_version_than_the_one_prepared_does_not_serve(settings):
    with pytest.raises(SourceError, match=r"weather_questions:2.0.0 is not prepared"):
        store.open_split(card("weather_questions:2.0.0"), "train", settings)


def test_a_split_that_the_dataset_lacks_is_named(settings):
    with pytest.raises(SourceError, match="has no split 'dev' but"):
        next(sources.raw_rows(card(), "dev", settings))


def test_a_family_in_one_dataset_is_read_once(settings, monkeypatch):
    family = {
        name: dataclasses.replace(
            card(),
            name=f"weather_{name}",
            source=Source(tfds="weather_questions:1.0.0", where={"question": question}),
        )
        for name, question in (("a", "Wie spät ist es? 5"), ("b", "Wie spät ist es? 3"), ("c", "?"))
    }
    passes = []
    original = tfds_source._rows
    monkeypatch.setattr(
        tfds_source, "_rows", lambda *arguments: passes.append(arguments) or original(*arguments)
    )
    (tfds_has,) = sources.availability(family["c"], settings)
    assert tfds_has.ok and "grouped by question on first use" in tfds_has.why and passes == []
    for name, number in (("a", 5), ("b", 3)):
        (row,) = sources.raw_rows(family[name], "train", settings)
        assert row["answers"] == {"text": [f"a{number}", "b"], "start": [number, 0]}
    with pytest.raises(SourceError, match=r"train has no row with question = \?"):
        next(sources.raw_rows(family["c"], "train", settings))
    assert len(passes) == 1


def test_a_builder_is_opened_once_and_not_to_look(settings, monkeypatch):
    opened = []
    original = tfds.builder_from_directory
    monkeypatch.setattr(
        tfds, "builder_from_directory", lambda folder: opened.append(folder) or original(folder)
    )
    tfds_source._builder.cache_clear()
    found = [
        sources.find_split(card(), split, "tfds", settings, fetch=False) for split in card().splits
    ]
    assert opened == []
    assert [origin.num_bytes > 0 for split in found for origin in split.origins] == [True] * 3
    assert [len(list(split.rows())) for split in found] == [12, 4, 4]
    assert len(opened) == 1


def test_remote_shards_are_read_in_order(tmp_path):
    import tensorflow as tf

    for number in range(12):
        with tf.io.gfile.GFile(f"ram://shards/w/rows.jsonl-{number:05d}-of-00012", "w") as file:
            file.write(f'{{"question": "{number}", "label": 0}}\n')
    whole = dataclasses.replace(card(), source=Source(files={"train": "w/rows.jsonl-*"}))
    settings = sources.settings(data_dir="ram://shards", store_dir=str(tmp_path), use=("files",))
    rows = list(sources.raw_rows(whole, "train", settings))
    assert [row["question"] for row in rows] == [str(number) for number in range(12)]
    tf.io.gfile.remove("ram://shards/w/rows.jsonl-00007-of-00012")
    with pytest.raises(SourceError, match=r"shards are missing: rows.jsonl-00007-of-00012"):
        next(sources.raw_rows(whole, "train", settings))
    with pytest.raises(SourceError, match="no file matches ram://shards/none/rows"):
        nowhere = dataclasses.replace(whole, source=Source(files={"train": "none/rows.jsonl-*"}))
        next(sources.raw_rows(nowhere, "train", settings))


def test_a_remote_archive_is_unpacked_here(tmp_path):
    import tensorflow as tf

    with zipfile.ZipFile(tmp_path / "tasks.zip", "w") as archive:
        archive.writestr("tasks/rain.jsonl", '{"question": "Wet?", "label": 1}\n')
    tf.io.gfile.copy(str(tmp_path / "tasks.zip"), "ram://packed/niv2/tasks.zip")
    packed = dataclasses.replace(card(), source=Source(files={"train": "niv2/tasks/rain.jsonl"}))
    settings = sources.settings(data_dir="ram://packed", store_dir=str(tmp_path), use=("files",))
    rows = list(sources.raw_rows(packed, "train", settings))
    assert rows == [{"question": "Wet?", "label": 1}]


def test_remote_files_are_read_through_tensorflow(tmp_path):
    import tensorflow as tf

    with tf.io.gfile.GFile("ram://bucket/rows.tsv", "w") as file:
        file.write("question\tlabel\nWet?\t1\n")
    assert list(readers.read("ram://bucket/rows.tsv")) == [{"question": "Wet?", "label": "1"}]
    assert readers.stat("ram://bucket/rows.tsv") and readers.stat("ram://bucket/none.tsv") is None


def test_tfrecords_of_tf_examples_are_read(tmp_path):
    import tensorflow as tf

    def feature(*values):
        if isinstance(values[0], int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))

    def write(*examples):
        with tf.io.TFRecordWriter(path) as writer:
            for features in examples:
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())

    features = {"question": feature("spät?"), "label": feature(1), "choices": feature("a", "b")}
    path = str(tmp_path / "rows.tfrecord-00000-of-00001")
    write(features, features)
    rows = list(readers.read(path))
    assert rows == [{"question": "spät?", "label": 1, "choices": ["a", "b"]}] * 2
    pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:-3])
    with pytest.raises(SourceError, match="record 2: not TFRecord, or damaged"):
        list(readers.read(path))
    latin = tf.train.Feature(bytes_list=tf.train.BytesList(value=["spät?".encode("latin-1")]))
    write(features, {"question": latin})
    with pytest.raises(SourceError, match="record 2: not UTF-8"):
        list(readers.read(path))
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"no example")
    with pytest.raises(SourceError, match=r"record 1: not a tf.train.Example"):
        list(readers.read(path))
