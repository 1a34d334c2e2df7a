"""TFDS for real: a small dataset is prepared by TFDS itself and read back as plain rows."""

import pathlib

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

    features = {"question": feature("spät?"), "label": feature(1), "choices": feature("a", "b")}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    path = str(tmp_path / "rows.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(example.SerializeToString())
    rows = list(readers.read(path))
    assert rows == [{"question": "spät?", "label": 1, "choices": ["a", "b"]}]
    pathlib.Path(path).write_bytes(pathlib.Path(path).read_bytes()[:-3])
    with pytest.raises(SourceError, match="not TFRecord, or damaged"):
        list(readers.read(path))
