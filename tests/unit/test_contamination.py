"""Shared runs of words are found, all of them and no others; lists of rows fit what they are of."""

import pickle
import random

import numpy as np
import pytest

from flan_tasks import contamination, draws, ngrams, stream
from flan_tasks.contamination import Checked, Overlap
from flan_tasks.errors import StoreError

SENTENCE = "One two three four five six seven eight nine ten eleven twelve thirteen."


def shared(evaluation, text, length=13):
    """The runs that a text shares with evaluation rows of one text each."""
    index = ngrams.Index({"set": [[row] for row in evaluation]}, length)
    return [each.words for each in index.find([[text]])]


def numbered(first, last):
    return " ".join(f"w{i}" for i in range(first, last))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't count 1,000 'sheep'!", ["don", "t", "count", "1", "000", "sheep"]),
        ("snake_case—and\tTABS\n", ["snake", "case", "and", "tabs"]),
        ("Cafe\u0301 ＡＢ", ["café", "ab"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("東京は 2 つ", ["東", "京", "は", "2", "つ"]),
        (" … ", []),
    ],
)
def test_words(text, expected):
    assert ngrams.words(text) == expected


def test_a_planted_run_is_found_whatever_its_case_and_punctuation():
    planted = "ONE, two: three-four 'five' six\nseven eight (nine) ten… eleven; twelve THIRTEEN"
    [words] = shared([f"Before it. {SENTENCE} After it."], f"Elsewhere {planted}, elsewhere.")
    assert words == " ".join(ngrams.words(SENTENCE))


def test_a_run_has_exactly_so_many_words():
    evaluation = [numbered(0, 40)]
    assert shared(evaluation, f"x {numbered(10, 23)} x") == [numbered(10, 23)]
    assert shared(evaluation, f"x {numbered(10, 22)} x") == []
    assert shared(evaluation, f"x {numbered(10, 22)} x", length=12) == [numbered(10, 22)]
    assert shared(evaluation, f"{numbered(10, 17)} x {numbered(17, 29)}") == []


def test_neither_rows_nor_their_ends_run_together():
    index = ngrams.Index({"set": [[numbered(0, 8)], [numbered(8, 16)]]}, 13)
    assert index.find([[numbered(0, 7)], [numbered(7, 13)]]) == []
    assert index.find([[numbered(0, 16)]]) == [(0, 0, numbered(0, 8))]


def test_a_row_is_its_texts_joined():
    index = ngrams.Index({"set": [[numbered(0, 7), numbered(7, 20)]]}, 13)
    assert [each.words for each in index.find([["x", numbered(3, 10), numbered(10, 16)]])] == [
        numbered(3, 16)
    ]


def test_what_is_shorter_than_a_run_counts_whole():
    texts = ["q17", "Is the moon, as some say, made of cheese?", "no"]
    index = ngrams.Index({"set": [texts, ["too short to be found"], [numbered(0, 8)]]}, 13)
    assert (index.num_rows, index.num_too_short) == ([3], [1])
    rows = [
        ["Tell me: is the moon as some say made of cheese"],
        ["is the moon as some say made of"],
        ["too short to be found"],
        [f"x {numbered(0, 8)}"],
        [numbered(0, 7)],
    ]
    assert [each.row for each in index.find(rows)] == [0, 3]


def plainly_shared(sets, row, length):
    """The sets that a row shares a run with, by comparing all with all."""

    def runs(texts, size):
        words = [word for text in texts for word in ngrams.words(text)]
        return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}

    found = set()
    for number, rows in enumerate(sets.values()):
        for texts in rows:
            if runs(texts, length) & runs(row, length):
                found.add(number)
            for whole in [texts, *([text] for text in texts)]:
                size = len(ngrams.words(" ".join(whole)))
                if ngrams.SHORTEST <= size < length and runs(whole, size) & runs(row, size):
                    found.add(number)
    return found


def random_rows(seed, count):
    generator = random.Random(seed)
    return [
        [
            " ".join(generator.choices("ab", k=generator.randrange(14)))
            for _ in range(generator.randrange(4))
        ]
        for _ in range(count)
    ]


@pytest.mark.parametrize("length", [1, 5, 9, 13])
def test_found_is_what_comparing_all_with_all_finds(length):
    sets = {name: random_rows(name, 12) for name in ("one", "two", "three")}
    rows = random_rows("rows", 120)
    found = ngrams.Index(sets, length).find(rows)
    expected = {(i, s) for i, row in enumerate(rows) for s in plainly_shared(sets, row, length)}
    assert {(each.row, each.evaluation) for each in found} == expected
    assert 0 < len(expected) < len(rows) * len(sets)
    assert pickle.loads(pickle.dumps(ngrams.Index(sets, length))).find(rows) == found


def test_equal_hashes_make_no_equal_words(monkeypatch):
    monkeypatch.setattr(draws, "hash64", lambda keys: np.zeros(keys.shape, np.uint64))
    assert shared([SENTENCE], SENTENCE) != []
    assert shared([SENTENCE], numbered(0, 40)) == []
    but_one = SENTENCE.replace("seven", "w7")
    assert shared([f"{SENTENCE} {numbered(0, 40)}"], but_one) == []


def test_rows_that_are_kept_are_found_by_their_places():
    generator = np.random.default_rng(0)
    sizes = [1, 7, 50, 50]
    left_out = [
        np.sort(generator.choice(size, size=count, replace=False))
        for size, count in zip(sizes, [0, 6, 20, 0], strict=True)
    ]
    kept = stream.Kept(left_out)
    for number, (size, without) in enumerate(zip(sizes, left_out, strict=True)):
        expected = np.setdiff1d(np.arange(size), without)
        places = np.arange(len(expected))
        assert kept.rows(np.full(len(places), number), places).tolist() == expected.tolist()


class Prepared:
    """Prepared rows, as far as a list has to do with them."""

    def __init__(self, num_rows=5, fingerprint="f00"):
        self.num_rows, self.fingerprint = num_rows, fingerprint
        self.left_out = np.zeros(0, np.int64)

    def without(self, rows):
        lesser = Prepared(self.num_rows, "other")
        lesser.left_out = rows
        return lesser


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "drops.jsonl"
    overlaps = [Overlap(1, {"set": SENTENCE}), Overlap(4, {"set": "é", "other": "two"})]
    every = [Overlap(row, {"set": "x"}) for row in range(5)]
    checked = [
        Checked("bool_q", "train", "f00", 5, overlaps),
        Checked("rte", "train", "f00", 5, []),
        Checked("cb", "train", "f00", 5, every),
    ]
    contamination.write(path, {"ngram": 13, "evaluation": [{"name": "set"}]}, checked)
    return path


def test_a_list_is_read_as_it_was_written(written):
    drop_list = contamination.read(str(written))
    assert drop_list.apply("bool_q", "train", Prepared()).left_out.tolist() == [1, 4]
    untouched = Prepared()
    assert drop_list.apply("rte", "train", untouched) is untouched
    assert drop_list.apply("bool_q", "validation", untouched) is untouched
    assert contamination.NOTHING.apply("qnli", "train", untouched) is untouched
    sent = pickle.loads(pickle.dumps(drop_list))
    assert sent == drop_list != contamination.NOTHING
    assert sent.apply("bool_q", "train", Prepared()).left_out.tolist() == [1, 4]


@pytest.mark.parametrize(
    ("dataset", "prepared", "complaint"),
    [
        ("bool_q", Prepared(fingerprint="f01"), r"of other rows[\s\S]*anew.*decontaminate\.py"),
        ("qnli", Prepared(), r"nothing of this dataset[\s\S]*decontaminate\.py … qnli"),
        ("cb", Prepared(), r"each of the 5 rows[\s\S]*Leave the dataset out"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(written, dataset, prepared, complaint):
    with pytest.raises(StoreError, match=complaint):
        contamination.read(str(written)).apply(dataset, "train", prepared)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[: len(text) // 3],
        lambda text: text.replace('"row": 4', '"row": 1'),
        lambda text: text.replace('"row": 4', '"row": 5'),
        lambda text: text.replace('{"drop_list": 1', '{"drop_list": 2'),
        lambda text: text.replace('"row": 4,', ""),
        lambda text: "[1]\n" + text,
    ],
)
def test_a_damaged_list_is_refused(written, change):
    text = written.read_text("utf-8")
    assert change(text) != text
    written.write_text(change(text), "utf-8")
    with pytest.raises(StoreError, match=r"drops.jsonl line \d+: damaged[\s\S]*anew"):
        contamination.read(str(written))


def test_no_list_is_an_error(tmp_path):
    with pytest.raises(StoreError, match=r"nosuch.*cannot be read[\s\S]*decontaminate"):
        contamination.read(str(tmp_path / "nosuch.jsonl"))
