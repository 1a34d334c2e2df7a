"""Metrics of reading comprehension: whether the right answer is given, however it is written.

Each measure has a normalisation of its own, as its dataset's published evaluation has it.
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACE_FOR_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_SPACES_AND_HYPHENS = re.compile(r"[\s-]")
# What stands between the spans of an answer that has several.
SPAN_SEPARATOR = ";"


def best(targets, predictions, score: Callable[[str, str], float]) -> float:
    """Mean over predictions of 100 times the best score (target, prediction) over references."""
    scores = [
        max(score(target, prediction) for target in references)
        for references, prediction in zip(targets, predictions, strict=True)
    ]
    return 100 * float(np.mean(scores))


def plain(text: str) -> str:
    """Text in lower case, with single spaces."""
    return " ".join(text.lower().split())


def squad(targets, predictions) -> Mapping[str, float]:
    """SQuAD's exact match and word F1, less articles and punctuation (arXiv 1606.05250, 6.1)."""
    return {
        "em": best(targets, predictions, _same_words),
        "f1": best(targets, predictions, _word_f1),
    }


def token_f1(targets, predictions) -> Mapping[str, float]:
    """SQuAD's F1 of words (arXiv 1606.05250, 6.1)."""
    return {"f1": best(targets, predictions, _word_f1)}


def exact_match(targets, predictions) -> Mapping[str, float]:
    """SQuAD's exact match: the same words, less articles and punctuation."""
    return {"exact_match": best(targets, predictions, _same_words)}


def trivia_qa(targets, predictions) -> Mapping[str, float]:
    """Exact match and word F1 as TriviaQA scores an answer over its aliases (arXiv 1705.03551).

    Other than SQuAD's, its normalisation puts a space for each mark of punctuation, typographic
    quotes and underscores among them: "Jean-Paul" is two words.
    """

    def same(target: str, prediction: str) -> bool:
        return _trivia_words(target) == _trivia_words(prediction)

    def f1(target: str, prediction: str) -> float:
        return _overlap(_trivia_words(target), _trivia_words(prediction))

    return {"em": best(targets, predictions, same), "f1": best(targets, predictions, f1)}


def drop(targets, predictions) -> Mapping[str, float]:
    """DROP's exact match and numeracy-focused F1 (arXiv 1903.00161, section 5).

    Numbers compare by value, words split at hyphens too. An answer of several spans, written
    "a; b", matches in any order; spans are aligned one to one so that F1 is highest, and a span
    whose numbers differ scores 0.
    """

    def same(target: str, prediction: str) -> bool:
        return sorted(_drop_spans(target)) == sorted(_drop_spans(prediction))

    return {"em": best(targets, predictions, same), "f1": best(targets, predictions, _drop_f1)}


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _trivia_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_SPACE_FOR_PUNCTUATION)).split()


def _same_words(target: str, prediction: str) -> bool:
    return _squad_words(target) == _squad_words(prediction)


def _word_f1(target: str, prediction: str) -> float:
    return _overlap(_squad_words(target), _squad_words(prediction))


def _overlap(expected: Sequence[str], got: Sequence[str]) -> float:
    """F1 of two bags of words; without words on one side: whether there are none on both."""
    if not expected or not got:
        return float(expected == got)
    common = sum((collections.Counter(expected) & collections.Counter(got)).values())
    # 2PR / (P + R) with P = common / |got| and R = common / |expected|
    return 2 * common / (len(expected) + len(got))


def _drop_spans(text: str) -> list[str]:
    """The normalised spans of an answer: "The 7 yards; Smith" gives ["7.0 yards", "smith"]."""
    return [" ".join(_drop_words(span)) for span in text.split(SPAN_SEPARATOR)]


def _drop_words(span: str) -> list[str]:
    words = []
    for word in _SPACES_AND_HYPHENS.split(span.lower()):
        if not _is_number(word):
            word = word.translate(_NO_PUNCTUATION)
        word = str(float(word)) if _is_number(word) else _ARTICLES.sub("", word)
        if word:
            words.append(word)
    return words


def _drop_f1(target: str, prediction: str) -> float:
    from scipy.optimize import linear_sum_assignment

    expected = [set(span.split()) for span in _drop_spans(target)]
    got = [set(span.split()) for span in _drop_spans(prediction)]
    scores = np.array([[_span_f1(right, made) for made in got] for right in expected])
    aligned = scores[linear_sum_assignment(scores, maximize=True)].sum()
    # The published evaluation rounds each answer's score so.
    return round(float(aligned) / max(scores.shape), 2)


def _span_f1(expected: set[str], got: set[str]) -> float:
    numbers = set(filter(_is_number, expected))
    if numbers and not numbers & got:
        return 0.0
    return _overlap(sorted(expected), sorted(got))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
