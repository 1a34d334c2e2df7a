"""What is read off outputs: a written list of tricky ones, and any string at all."""

import csv
import pathlib
import random
import time

import pytest

from flan_tasks.evaluation import extraction
from flan_tasks.evaluation.extraction import extract

LIST = pathlib.Path(__file__).with_name("tricky_outputs.tsv")
NOTHING = "-"


def tricky():
    with LIST.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        output = row["output"].replace("\\n", "\n").replace("\\\\", "\\")
        options = row["options"].split("|") if row["options"] else []
        yield row["kind"], options, output, None if row["reading"] == NOTHING else row["reading"]


def test_the_list_is_long_and_of_all_kinds():
    cases = list(tricky())
    assert len(cases) >= 150
    assert {kind for kind, *_ in cases} == set(extraction.KINDS)


@pytest.mark.parametrize(("kind", "options", "output", "reading"), tricky())
def test_tricky_outputs_are_read_right(kind, options, output, reading):
    assert extract(kind, output, options) == reading


@pytest.mark.parametrize("kind", extraction.KINDS)
def test_any_string_is_accepted(kind):
    draw = random.Random(0)
    pieces = [
        *("the answer is", "\\boxed{", "}", "(A)", "B", " ", "\n", "12", "1,234.5", "/", "-", "$"),
        *("½", "٣", "yes", "no", "not", "**", "####", "\0", "\ud800", "😀", "10^", "e9999", "^"),
        *("\\frac{1}{0}", "1/0", "12/25/1937", "0000-00-00", "²", "百", "million", "Wait,", "I"),
    ]
    for length in (0, 1, 2, 5, 20, 200):
        for _ in range(100):
            output = "".join(draw.choices(pieces, k=length))
            found = extract(kind, output, ["yes", "no", ""])
            assert found is None or isinstance(found, str)


@pytest.mark.parametrize("kind", extraction.KINDS)
@pytest.mark.parametrize(
    "piece",
    [
        *("the answer is ", "9", "1,", "(", "A ", "\\boxed{", "not ", "answer ", "1 ", "**", "a"),
        *(
            "1/",
            "{",
            "-",
            "Dec 1, ",
            "\n",
            "yes ",
            "$",
            "answer" + " x" * 50,
            "hundred ",
            "=",
            "１",
        ),
    ],
)
def test_time_grows_no_faster_than_the_output(kind, piece):
    output = piece * (20_000 // len(piece))
    start = time.process_time()
    extract(kind, output, ["yes", "no"])
    assert time.process_time() - start < 1.5  # far less, unless time grows with the square


def test_numbers_of_any_length_compare():
    digits = "1" * 5000
    assert extract("number", digits) == extract("number", f"The answer is {digits}.")
    assert extract("number", digits) != extract("number", digits + "2")


def test_only_the_same_answers_are_the_same():
    assert extraction.same("text", "New  York", "new york")
    assert not extraction.same("text", "New York", None)
    assert not extraction.same("choice", "A", None)
    assert extraction.same("number", "7", "7")
    assert not extraction.same("number", "7", "7.5")
