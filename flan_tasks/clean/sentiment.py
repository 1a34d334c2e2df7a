"""Classification of reviews and tweets by sentiment, and of news by topic."""

import html
import re
from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import squeeze, untokenize

_LINE_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?\w[^<>]*>")
# AG News lost the ampersand of its character references, and put a space before them instead.
_CONTRACTION = re.compile(r" (?=#39;(?:s|t|re|ve|ll|d|m)\b)")
_REFERENCE = re.compile(r"&?(#\d+;)")


def imdb_reviews(row: Mapping[str, Any]) -> Fields:
    """A film review, its HTML line breaks as line ends; label 0 is negative, 1 is positive.

    Reads {text, label} as TFDS and the Hub have it; -1 marks the unlabeled reviews.
    """
    return {"text": squeeze(_LINE_BREAK.sub("\n", row["text"])), "label": _label(row["label"])}


def yelp_polarity_reviews(row: Mapping[str, Any]) -> Fields:
    r"""A review of a place; label 0 is negative, 1 is positive.

    TFDS and the Hub have {text, label} with label 0 or 1 (the indices of the class names "1" and
    "2") and the text as it stands between the CSV's quotes, with "" for a quotation mark. The
    published CSV has no header; the card calls its columns {class, text}, and class is 1 or 2.
    Both write a line end as \n.
    """
    if "class" in row:
        text, label = row["text"], _label(row["class"]) - 1
    else:
        text, label = row["text"].replace('""', '"'), _label(row["label"])
    return {"text": squeeze(text.replace('\\"', '"').replace("\\n", "\n")), "label": label}


def sentiment140(row: Mapping[str, Any]) -> Fields:
    """A tweet; label 0 is negative, 1 is positive. The test split's neutral ones are left out.

    TFDS has {text, polarity}, the Hub {text, sentiment}; both 0, 2 (neutral) or 4.
    """
    polarity = _label(row["polarity"] if "polarity" in row else row["sentiment"])
    if polarity == 2:
        raise Drop("neutral")
    if polarity not in (0, 4):
        raise ValueError(f"polarity {polarity} is none of 0, 2, 4")
    return {"text": squeeze(html.unescape(row["text"])), "label": polarity // 4}


def sst2(row: Mapping[str, Any]) -> Fields:
    """A sentence or phrase of a film review, its tokens put together; label 1 is positive.

    Reads {sentence, label} as TFDS, the Hub and GLUE's TSV have it; -1 in the test split.
    """
    return {"sentence": untokenize(row["sentence"]), "label": _label(row["label"])}


def ag_news_subset(row: Mapping[str, Any]) -> Fields:
    """A news item and its topic: World, Sports, Business, Science/Tech.

    TFDS has {title, description, label} with labels from 0. The published CSV has no header; the
    card calls its columns {class, title, description}, and classes count from 1. The Hub has
    {text, label}, labels from 0, headline and text run together: no title then.
    """
    label = _label(row["class"]) - 1 if "class" in row else _label(row["label"])
    if "description" in row:
        return {"title": _news(row["title"]), "text": _news(row["description"]), "label": label}
    return {"title": "", "text": _news(row["text"]), "label": label}


def _news(text: str) -> str:
    """AG News's text on one line, without markup and with its character references resolved."""
    whole = _REFERENCE.sub(r"&\1", _CONTRACTION.sub("", text))
    # References were escaped twice in places: &amp;lt;
    plain = _TAG.sub(" ", html.unescape(html.unescape(whole)))
    return " ".join(plain.replace("\\", " ").split())


def _label(value: Any) -> int:
    """A label, as a number or in digits."""
    if value is None or value == "" or int(value) == -1:
        raise Drop("no label")
    return int(value)
