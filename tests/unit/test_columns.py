"""Rows read straight from a mapped file are the rows written."""

import pathlib
import random

import pyarrow as pa
import pytest

from flan_tasks.columns import ARROW_TYPES, Columns


def opened(folder, rows, **types):
    schema = pa.schema([(name, ARROW_TYPES[kind]) for name, kind in types.items()])
    path = str(pathlib.Path(folder, "rows.arrow"))
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))
    return Columns(path)


def random_row(draw):
    def text():
        return "".join(draw.choices("ab é\n中🙂", k=draw.choice([0, 1, 5, 40])))

    return {
        "question": text(),
        "label": draw.randint(-(2**63), 2**63 - 1),
        "choices": [text() for _ in range(draw.choice([0, 1, 4]))],
    }


def test_rows_are_those_written(tmp_path):
    draw = random.Random(0)
    rows = [random_row(draw) for _ in range(200)]
    columns = opened(tmp_path, rows, question="str", label="int", choices="list")
    for number in draw.sample(range(200), 200):
        assert columns.row(number) == rows[number]
    assert list(columns.row(0)) == ["question", "label", "choices"]
    assert [type(value) for value in columns.row(0).values()] == [str, int, list]


@pytest.mark.parametrize(
    "row", [{"a": "", "b": []}, {"a": "", "b": [""]}, {"a": "x", "b": ["", ""]}]
)
def test_nothing_is_a_value_too(tmp_path, row):
    columns = opened(tmp_path, [row] * 3, a="str", b="list")
    assert [columns.row(number) for number in range(3)] == [row] * 3


def test_rows_stay_readable_when_the_file_is_gone(tmp_path):
    columns = opened(tmp_path, [{"a": "here"}], a="str")
    (tmp_path / "rows.arrow").unlink()
    assert columns.row(0) == {"a": "here"}
