"""Cleaning of summarization: the same fields from every form in which a dataset is published."""

import json
import pathlib

import pytest

import flan_tasks
from flan_tasks import cards, clean, readers
from flan_tasks.clean import Drop, summarization
from flan_tasks.clean.running_text import numbered, squeeze, untokenize

CARDS = pathlib.Path(flan_tasks.__file__).parent / "datasets"


def from_file(name: str, path: pathlib.Path) -> list[dict]:
    """A published file's rows as fields, read and cleaned as the card says."""
    (dataset,) = cards.load_card(CARDS / f"{name}.toml")
    assert path.name in {pathlib.PurePath(file).name for file in dataset.source.files.values()}
    rows = readers.read(str(path), columns=dataset.source.columns, rows=dataset.source.rows)
    return [clean.cleaner(dataset)(row) for row in rows]


# Running text


def test_squeezing_leaves_single_spaces_and_one_empty_line_at_most():
    text = squeeze(" A \t b\xa0c \r\n \r\n\r\n\n d\re ")
    assert text == "A b c\n\nd\ne"
    assert squeeze(text) == text


@pytest.mark.parametrize(
    ("tokens", "written"),
    [
        ("it does n't , does it ?", "it doesn't, does it?"),
        ("`` so what ? '' she said .", '"so what?" she said.'),
        ("the drivers ' union , -LRB- founded in 1902 -RRB- , won", None),
        ("we 're $ 5 short and they 'll pay 10 % ...", "we're $5 short and they'll pay 10%..."),
        ("a love\\/hate thing , \\* sigh \\*", "a love/hate thing, * sigh *"),
        ("he called it ` a start ' -- no more", "he called it 'a start' -- no more"),
        ("'' quoted", '" quoted'),
        ("", ""),
    ],
)
def test_tokens_are_put_together(tokens, written):
    expected = written if written is not None else "the drivers' union, (founded in 1902), won"
    assert untokenize(tokens) == expected


def test_untokenizing_leaves_running_text_alone():
    text = 'He said "no" (twice), didn\'t he?'
    assert untokenize(text) == text


def test_items_are_numbered_from_one():
    assert numbered(["a", "b"]) == "1. a\n2. b"


# Openings


def test_an_opening_is_whole_sentences_of_forty_words_or_the_whole_text():
    sentence = "This is one of many sentences of just ten words."
    assert len(summarization.opening(" ".join([sentence] * 9)).split()) == 40
    assert summarization.opening(sentence) == sentence
    assert summarization.opening("") == ""


@pytest.mark.parametrize(
    "fields",
    [
        summarization.xsum({"document": "One. Two.\nThree. " * 30, "summary": "s"}),
        summarization.newsroom({"title": "t", "text": "One. Two.\n\n" * 30, "summary": "s"}),
        summarization.multi_news({"document": "One two. " * 30 + "|||||x", "summary": "s"}),
        summarization.wiki_lingua({"source": "One. Two. " * 30, "target": "s"}),
    ],
    ids=["xsum", "newsroom", "multi_news", "wiki_lingua"],
)
def test_openings_are_how_the_text_begins(fields):
    text = " ".join(fields.get("source", fields.get("text")).removeprefix("Article 1:").split())
    assert text.startswith(fields["opening"])
    assert 40 <= len(fields["opening"].split()) < len(text.split())


# Datasets


@pytest.mark.parametrize(
    ("function", "row"),
    [
        (summarization.aeslc, {"email_body": " \n", "subject_line": "s"}),
        (summarization.multi_news, {"document": " ||||| \n", "summary": "– s"}),
        (summarization.newsroom, {"text": "", "title": "t", "summary": "s"}),
        (summarization.samsum, {"dialogue": None, "summary": "s"}),
        (summarization.xsum, {"document": "Share this with\nEmail", "summary": "s"}),
        (summarization.wiki_lingua, {"source": "", "target": "t"}),
    ],
)
def test_rows_without_a_text_are_dropped(function, row):
    with pytest.raises(Drop, match=r"^no "):
        function(row)


def test_an_email_keeps_its_lines_and_its_subject_is_one():
    row = {"email_body": "Hi,\n\n\n\nbye \n", "subject_line": "About\nus \n"}
    assert summarization.aeslc(row) == {"body": "Hi,\n\nbye", "subject": "About us"}


@pytest.mark.parametrize("word", ["UNK", "<unk>"])
def test_gigaword_is_left_out_where_words_are_unknown(word):
    for row in (
        {"document": f"shares of {word} fell .", "summary": "shares fall"},
        {"document": "shares fell .", "summary": f"{word} falls"},
    ):
        with pytest.raises(Drop, match="unknown word"):
            summarization.gigaword(row)


def test_gigaword_is_left_out_where_digits_are_masked():
    with pytest.raises(Drop, match="digits"):
        summarization.gigaword({"document": "up #.# percent .", "summary": "prices up"})
    row = {"document": "a drunken chunk of the bank 's team left .", "summary": "team leaves"}
    assert summarization.gigaword(row)["text"] == "a drunken chunk of the bank's team left."


def test_articles_are_numbered_where_there_are_several():
    row = {"document": "One.\n \n \nMore. ||||| ||||| Two.", "summary": "– Both."}
    assert summarization.multi_news(row) == {
        "text": "Article 1:\nOne.\n\nMore.\n\nArticle 2:\nTwo.",
        "opening": "One. More.",
        "summary": "Both.",
    }
    assert summarization.multi_news({"document": "One. |||||", "summary": "s"})["text"] == "One."


def test_newsroom_reads_its_release(tmp_path):
    path = tmp_path / "train.jsonl"
    row = {"url": "u", "archive": "a", "title": None, "text": "It  rained.", "summary": "Rain."}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    expected = {"title": "", "text": "It rained.", "opening": "It rained.", "summary": "Rain."}
    assert from_file("newsroom", path) == [expected]


REVIEWS = {"r1": "Good &amp; short.", "r2": " ", "r3": "Dull."}


@pytest.mark.parametrize(
    "critics",
    [
        REVIEWS,
        {"key": list(REVIEWS), "value": list(REVIEWS.values())},
        [{"key": key, "value": value} for key, value in REVIEWS.items()],
    ],
    ids=["json", "tfds", "list"],
)
def test_opinions_are_read_from_every_form(critics):
    row = {
        "_movie_name": "robot_summer",
        "_movie_id": "1",
        "_critics": critics,
        "_critic_consensus": "<em>Robot Summer</em> is <b>fine</b>.",
    }
    assert summarization.opinion_abstracts_rotten_tomatoes(row) == {
        "movie": "Robot Summer",
        "first_review": "Good & short.",
        "numbered_reviews": "1. Good & short.\n2. Dull.",
        "critic_consensus": "Robot Summer is fine.",
    }


def test_there_are_ten_opinions_at_most_and_one_at_least():
    row = {
        "_debate_name": "D",
        "_claim_id": "1",
        "_claim": "C",
        "_argument_sentences": {str(n): f"Reason {n}." for n in range(12)},
    }
    listed = summarization.opinion_abstracts_idebate(row)["argument_sentences"].splitlines()
    assert (len(listed), listed[-1]) == (10, "10. Reason 9.")
    with pytest.raises(Drop, match="no argument"):
        summarization.opinion_abstracts_idebate({**row, "_argument_sentences": {}})


def test_idebate_reads_its_release(tmp_path):
    path = tmp_path / "idebate.json"
    row = {
        "_debate_name": "D",
        "_debate_id": "1",
        "_claim_id": "2",
        "_claim": "C",
        "_argument_sentences": {"0": "A", "1": "B"},
    }
    path.write_text(json.dumps([row]), "utf-8")
    expected = {"debate_name": "D", "argument_sentences": "1. A\n2. B", "claim": "C"}
    assert from_file("opinion_abstracts_idebate", path) == [expected]


def test_samsum_reads_its_release(tmp_path):
    path = tmp_path / "val.json"
    row = {"id": "1", "summary": "A sends a link.", "dialogue": "A: <file_photo> <link>\r\nB: <3"}
    path.write_text(json.dumps([row]), "utf-8")
    expected = {"dialogue": "A: [photo] [link]\nB: <3", "summary": "A sends a link."}
    assert from_file("samsum", path) == [expected]


def test_xsum_loses_what_the_web_page_put_around_the_article():
    document = "Share this with\nEmail\nTwitter\nIt rained.\nThey share this with Email users."
    fields = summarization.xsum({"document": document, "summary": "Rain.", "id": "1"})
    assert fields["text"] == "It rained.\nThey share this with Email users."
