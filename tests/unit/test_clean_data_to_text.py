"""Cleaning of data to text: lists in one line and line by line, and all references."""

import json

import pytest

from flan_tasks import catalog, clean, readers
from flan_tasks.clean import Drop, data_to_text


def test_concepts_stand_in_one_line_and_line_by_line():
    row = {"concepts": ["dog", "ball"], "target": "A dog has a ball .", "references": []}
    assert data_to_text.common_gen(row) == {
        "concepts": "dog, ball",
        "concepts_newline": "dog\nball",
        "target": "A dog has a ball.",
        "references": ["A dog has a ball."],
    }


def test_every_reference_is_kept_once_with_the_target_first():
    row = {"concepts": ["dog"], "target": "A dog.", "references": ["A dog.", "Dogs .", "Dogs."]}
    assert data_to_text.common_gen(row)["references"] == ["A dog.", "Dogs."]


def test_rows_whose_text_is_secret_are_dropped():
    row = {"concepts": ["dog", "ball"], "target": "", "references": []}
    with pytest.raises(Drop, match="no answer"):
        clean.cleaner(catalog.get("common_gen"))(row)


PUBLISHED_TRIPLES = [["Mill Lane", "COACH", "Ann  Low"], ["Mill Lane", "TOWN", "Ayr"]]


def test_dart_reads_alike_from_tfds_and_from_the_published_file(tmp_path):
    annotations = [{"source": "x", "text": "Ann Low coaches  Mill Lane."}, {"text": "Mill Lane."}]
    path = tmp_path / "dart.json"
    path.write_text(json.dumps([{"tripleset": PUBLISHED_TRIPLES, "annotations": annotations}]))
    source = catalog.get("dart").source
    published = [data_to_text.dart(row) for row in readers.read(str(path), rows=source.rows)]
    flat = [" ".join(triple) for triple in PUBLISHED_TRIPLES]
    tfds = [
        data_to_text.dart({"tripleset": flat, "target": each["text"], "references": []})
        for each in annotations
    ]
    assert published == tfds
    assert published[0] == {
        "tripleset": "Mill Lane COACH Ann Low; Mill Lane TOWN Ayr",
        "tripleset_newline": "Mill Lane COACH Ann Low\nMill Lane TOWN Ayr",
        "target": "Ann Low coaches Mill Lane.",
        "references": ["Ann Low coaches Mill Lane."],
    }


def test_e2e_reads_alike_from_tfds_and_from_the_published_table():
    published = {"mr": "name[Mill], food[Thai]", "ref": "Mill is Thai ."}
    tfds = {"meaning_representation": published["mr"], "target": "Mill is Thai.", "references": []}
    fields = data_to_text.e2e_nlg(tfds)
    assert fields == data_to_text.e2e_nlg(published)
    assert fields["references"] == ["Mill is Thai."]


def test_web_nlg_triples_lose_underscores_and_quotation_marks():
    triples = ['Old_Mill | location | "Ayr, Scotland"', "Ayr | population | 46,982"]
    fields = data_to_text.web_nlg({"input": triples, "target": "x", "references": ["x", "y"]})
    assert fields["input_newline"].splitlines() == [
        "Old Mill | location | Ayr, Scotland",
        "Ayr | population | 46,982",
    ]
    assert fields["input_string"] == "; ".join(fields["input_newline"].splitlines())
    assert fields["references"] == ["x", "y"]
