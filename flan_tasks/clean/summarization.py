"""Summarization: a long text, or several, and what they come to."""

import html
import re
import string
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import numbered, squeeze, untokenize

# Articles are longer than most models' targets; an opening is what can be asked for.
_OPENING_WORDS = 40
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[\"'A-Z])")

# Gigaword's rare words are UNK in the training rows; digits are masked as #.
_UNKNOWN_WORD = re.compile(r"\bUNK\b|<unk>")
_BETWEEN_ARTICLES = re.compile(r"\|{5}")
# More reviews or arguments than this make a prompt long, and a summary no better.
_MOST_OPINIONS = 10
_TAG = re.compile(r"</?\w+[^<>]*>")
# SAMSum's stand-ins for what cannot be shown: <file_photo>, <link> and the like.
_ATTACHMENT = re.compile(r"<(?:file_)?(\w+)>")
# What web pages put around an article's text (XSum).
_PAGE_FURNITURE = frozenset(
    [
        "share this with",
        "email",
        "facebook",
        "messenger",
        "twitter",
        "pinterest",
        "whatsapp",
        "linkedin",
        "copy this link",
        "these are external links and will open in a new window",
        "media playback is not supported on this device",
        "media playback is unsupported on your device",
    ]
)


def cnn_dailymail(row: Mapping[str, Any]) -> Fields:
    """A news article, its opening, and its highlights, one to a line."""
    text, highlights = row["article"].strip(), row["highlights"].strip()
    if not text:
        raise Drop("no article")
    lines = (line.strip() for line in highlights.splitlines())
    return {
        "text": text,
        "opening": opening(text),
        "highlights": "\n".join(line for line in lines if line),
    }


def aeslc(row: Mapping[str, Any]) -> Fields:
    """An email and its subject, from {email_body, subject_line} (TFDS and the Hub)."""
    return {
        "body": _text(row["email_body"], "email"),
        "subject": " ".join(row["subject_line"].split()),
    }


def gigaword(row: Mapping[str, Any]) -> Fields:
    """A news report's first sentence and its headline, from {document, summary}.

    The corpus is tokenised and in lower case. Rows with words it does not know or with masked
    digits are left out, as in the original collection.
    """
    document, headline = row["document"], row["summary"]
    if _UNKNOWN_WORD.search(document + " " + headline):
        raise Drop("unknown word")
    if "#" in document + headline:
        raise Drop("masked digits")
    if not document.strip():
        raise Drop("no sentence")
    return {"text": untokenize(document), "summary": untokenize(headline)}


def multi_news(row: Mapping[str, Any]) -> Fields:
    """Articles on one event, the first one's opening, and a summary of them all.

    Reads {document, summary}: the articles stand in one text with five bars between them.
    """
    pieces = map(squeeze, _BETWEEN_ARTICLES.split(row["document"]))
    articles = [piece for piece in pieces if piece]
    if not articles:
        raise Drop("no article")
    text = articles[0]
    if len(articles) > 1:
        text = "\n\n".join(f"Article {n}:\n{article}" for n, article in enumerate(articles, 1))
    return {
        "text": text,
        "opening": opening(articles[0]),
        # Every summary begins with a dash.
        "summary": squeeze(row["summary"]).lstrip("–—- "),
    }


def newsroom(row: Mapping[str, Any]) -> Fields:
    """A news article with its headline and summary, from TFDS or the release's JSON lines."""
    text = _text(row["text"], "article")
    return {
        "title": squeeze(row["title"] or ""),
        "text": text,
        "opening": opening(text),
        "summary": squeeze(row["summary"] or ""),
    }


def opinion_abstracts_rotten_tomatoes(row: Mapping[str, Any]) -> Fields:
    """Ten reviews of a film at most, and the critics' consensus on it."""
    reviews = _opinions(row["_critics"], "review")
    movie = row["_movie_name"].replace("_", " ").strip()
    return {
        "movie": string.capwords(movie) if movie.islower() else movie,
        "first_review": reviews[0],
        "numbered_reviews": numbered(reviews),
        "critic_consensus": _without_markup(row["_critic_consensus"]),
    }


def opinion_abstracts_idebate(row: Mapping[str, Any]) -> Fields:
    """Ten sentences of an argument at most, the claim they make, and the debate's motion."""
    sentences = _opinions(row["_argument_sentences"], "argument")
    return {
        "debate_name": row["_debate_name"].replace("_", " ").strip(),
        "argument_sentences": numbered(sentences),
        "claim": _without_markup(row["_claim"]),
    }


def samsum(row: Mapping[str, Any]) -> Fields:
    """A chat, one message to a line, and what it was about: {dialogue, summary} everywhere."""
    dialogue = _text(row["dialogue"] or "", "dialogue")
    return {
        "dialogue": _ATTACHMENT.sub(r"[\1]", dialogue),
        "summary": _ATTACHMENT.sub(r"[\1]", squeeze(row["summary"])),
    }


def xsum(row: Mapping[str, Any]) -> Fields:
    """A news article, its opening, and a summary of one sentence: {document, summary}."""
    lines = squeeze(row["document"]).splitlines()
    text = _text(
        "\n".join(line for line in lines if line.lower() not in _PAGE_FURNITURE), "article"
    )
    return {"text": text, "opening": opening(text), "summary": squeeze(row["summary"])}


def wiki_lingua(row: Mapping[str, Any]) -> Fields:
    """The steps of a guide, their opening, and their headings as its summary."""
    source = _text(row["source"], "text")
    return {"source": source, "opening": opening(source), "target": squeeze(row["target"])}


def opening(text: str) -> str:
    """The first sentences of a text, of at least forty words together, or all of it."""
    sentences = _SENTENCE_END.split(text)
    taken: list[str] = []
    while sentences and len(" ".join(taken).split()) < _OPENING_WORDS:
        taken.append(sentences.pop(0))
    return " ".join(taken)


def _text(raw: str, what: str) -> str:
    text = squeeze(raw)
    if not text:
        raise Drop(f"no {what}")
    return text


def _opinions(raw: Any, what: str) -> list[str]:
    """The first opinions of a row.

    TFDS gives them as {key: [...], value: [...]} or [{key, value}, ...], the published JSON as
    {identifier: opinion, ...}.
    """
    if not isinstance(raw, Mapping):
        texts = [each["value"] for each in raw]
    elif raw.keys() == {"key", "value"}:
        texts = list(raw["value"])
    else:
        texts = list(raw.values())
    opinions = [opinion for opinion in map(_without_markup, texts) if opinion]
    if not opinions:
        raise Drop(f"no {what}")
    return opinions[:_MOST_OPINIONS]


def _without_markup(text: str) -> str:
    """Text of a web page on one line, without tags and character references."""
    return " ".join(_TAG.sub("", html.unescape(text)).split())
