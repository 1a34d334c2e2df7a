"""Cleaning of sentiment and topic: the same fields from every form of a dataset."""

import gzip
import pathlib

import pytest

import flan_tasks
from flan_tasks import cards, clean, readers
from flan_tasks.clean import Drop, sentiment

CARDS = pathlib.Path(flan_tasks.__file__).parent / "datasets"
NEGATIVE, POSITIVE = 0, 1


def from_file(name: str, path: pathlib.Path) -> list[dict]:
    """A published file's rows as fields, read and cleaned as the card says."""
    (dataset,) = cards.load_card(CARDS / f"{name}.toml")
    rows = readers.read(str(path), columns=dataset.source.columns)
    return [clean.cleaner(dataset)(row) for row in rows]


@pytest.mark.parametrize(
    ("function", "row"),
    [
        (sentiment.imdb_reviews, {"text": "x", "label": -1}),
        (sentiment.sst2, {"sentence": "x", "label": "-1"}),
        (sentiment.yelp_polarity_reviews, {"text": "x", "label": None}),
        (sentiment.yelp_polarity_reviews, {"text": "x", "class": ""}),
        (sentiment.sentiment140, {"text": "x", "sentiment": None}),
        (sentiment.ag_news_subset, {"text": "x", "label": -1}),
    ],
)
def test_rows_without_a_label_are_dropped(function, row):
    with pytest.raises(Drop, match="no label"):
        function(row)


@pytest.mark.parametrize("mark", ["<br /><br />", "<br><BR/>", " <br /> <br />\n"])
def test_line_breaks_of_a_web_page_become_paragraphs(mark):
    fields = sentiment.imdb_reviews({"text": f"Fine.{mark}Really <b.", "label": 1})
    assert fields == {"text": "Fine.\n\nReally <b.", "label": POSITIVE}


def test_yelp_counts_labels_from_zero_and_classes_from_one():
    def label(**column):
        return sentiment.yelp_polarity_reviews({"text": "x", **column})["label"]

    assert (label(label=0), label(label=1)) == (NEGATIVE, POSITIVE)
    assert (label(**{"class": "1"}), label(**{"class": "2"})) == (NEGATIVE, POSITIVE)


def test_yelp_reads_the_same_from_tfds_and_from_the_published_csv(tmp_path):
    between_quotes = r'I said ""no"", then:\n\n\""never\""'
    path = tmp_path / "train.csv"
    path.write_text(f'"1","{between_quotes}"\n"2","Good."\n', "utf-8")
    first, second = from_file("yelp_polarity_reviews", path)
    assert first == {"text": 'I said "no", then:\n\n"never"', "label": NEGATIVE}
    assert second["label"] == POSITIVE
    assert sentiment.yelp_polarity_reviews({"text": between_quotes, "label": 0}) == first


@pytest.mark.parametrize("column", ["polarity", "sentiment"])
def test_a_tweet_is_negative_or_positive_or_left_out(column):
    def tweet(value):
        return sentiment.sentiment140({"text": "you &amp; me  &lt;3", column: value})

    assert tweet(0) == {"text": "you & me <3", "label": NEGATIVE}
    assert tweet("4")["label"] == POSITIVE
    with pytest.raises(Drop, match="neutral"):
        tweet(2)
    with pytest.raises(ValueError, match="polarity 3"):
        tweet(3)


def test_sst2_reads_the_tsv_of_glue(tmp_path):
    path = tmp_path / "dev.tsv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("sentence\tlabel\nit 's `` fun '' \t1\nno \t0\n")
    assert from_file("sst2", path) == [
        {"sentence": 'it\'s "fun"', "label": POSITIVE},
        {"sentence": "no", "label": NEGATIVE},
    ]


def test_ag_news_reads_the_same_from_tfds_and_from_the_published_csv(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text('"3","Maker #39;s Gain","Up \\$1 or ""more"""\n', "utf-8")
    (fields,) = from_file("ag_news_subset", path)
    assert fields == {"title": "Maker's Gain", "text": 'Up $1 or "more"', "label": 2}
    row = {"title": "Maker #39;s Gain", "description": 'Up \\$1 or "more"', "label": 2}
    assert sentiment.ag_news_subset(row) == fields


def test_ag_news_on_the_hub_has_no_title_of_its_own():
    fields = sentiment.ag_news_subset({"text": "Rain It rained.", "label": 0})
    assert fields == {"title": "", "text": "Rain It rained.", "label": 0}


@pytest.mark.parametrize(
    ("published", "shown"),
    [
        ("the firm #39;s plan isn #39;t new", "the firm's plan isn't new"),
        ("costs #36;5 &amp; up", "costs $5 & up"),
        ("AT&amp;amp;T &lt;b&gt;wins&lt;/b&gt; again", "AT&T wins again"),
        ('see &lt;A HREF="http://x.y/z"&gt;more&lt;/A&gt;', "see more"),
        ("a\\line  end", "a line end"),
        ("item #39; is no. #39", "item ' is no. #39"),
    ],
)
def test_ag_news_loses_its_markup(published, shown):
    assert sentiment.ag_news_subset({"text": published, "label": 0})["text"] == shown
