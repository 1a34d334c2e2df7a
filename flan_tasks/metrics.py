"""Metrics over predictions and, for each, all acceptable answers.

Every function takes `targets` (a list of lists of references) and `predictions` (a list of texts)
and returns percentages. A prediction scores its best over the references.
"""

import collections
import re
import string
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from flan_tasks.spec import Dataset, Variant

Metric = Callable[[Sequence[Sequence[str]], Sequence[str]], Mapping[str, float]]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_ANSWER_IS = re.compile(r"answer(?:\s+is)?\s*[:=]?\s*", re.IGNORECASE)


def accuracy(targets, predictions) -> Mapping[str, float]:
    """Share of predictions equal to an answer up to case and outer white space."""
    return {"accuracy": _percent(targets, predictions, lambda t, p: _plain(t) == _plain(p))}


def squad(targets, predictions) -> Mapping[str, float]:
    """SQuAD's exact match and word F1, less articles and punctuation (arXiv 1606.05250, 6.1)."""
    return {
        "em": _percent(targets, predictions, _same_words),
        "f1": _percent(targets, predictions, _word_f1),
    }


def token_f1(targets, predictions) -> Mapping[str, float]:
    """SQuAD's F1 of words (arXiv 1606.05250, 6.1)."""
    return {"f1": _percent(targets, predictions, _word_f1)}


def exact_match(targets, predictions) -> Mapping[str, float]:
    """SQuAD's exact match: the same words, less articles and punctuation."""
    return {"exact_match": _percent(targets, predictions, _same_words)}


def rouge(targets, predictions) -> Mapping[str, float]:
    """ROUGE-1, -2 and -L F-measures with stemming, by the rouge-score package."""
    from rouge_score import rouge_scorer

    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
    scores = [scorer.score_multi(t, p) for t, p in zip(targets, predictions, strict=True)]
    return {kind: 100 * float(np.mean([s[kind].fmeasure for s in scores])) for kind in kinds}


def gsm8k_answer(targets, predictions) -> Mapping[str, float]:
    """Share of rationales that end in the right number (arXiv 2110.14168).

    The number after the last "answer is" counts, else the last number of the text.
    """
    return {
        "accuracy": _percent(
            targets, predictions, lambda t, p: final_number(t) == final_number(p) is not None
        )
    }


def final_number(text: str) -> float | None:
    """The number a rationale ends in; None without a number.

    >>> final_number("24 + 48 = 72. The answer is 72.")
    72.0
    """
    *_, tail = _ANSWER_IS.split(text)
    numbers = _NUMBER.findall(tail)
    if numbers and tail is not text:
        return float(numbers[0].replace(",", ""))
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


BY_NAME: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "exact_match": exact_match,
    "squad": squad,
    "token_f1": token_f1,
    "rouge": rouge,
    "gsm8k_answer": gsm8k_answer,
}


def functions(dataset: Dataset, variant: Variant) -> list[Metric]:
    """The metrics of a task; an inverted one writes text, whatever the dataset's answers are."""
    names = ("rouge",) if variant.inverted else dataset.metrics
    return [BY_NAME[name] for name in names]


def _percent(targets, predictions, score) -> float:
    best = [
        max(score(target, prediction) for target in references)
        for references, prediction in zip(targets, predictions, strict=True)
    ]
    return 100 * float(np.mean(best))


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _squad_words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _same_words(target: str, prediction: str) -> bool:
    return _squad_words(target) == _squad_words(prediction)


def _word_f1(target: str, prediction: str) -> float:
    expected, got = _squad_words(target), _squad_words(prediction)
    if not expected or not got:
        return float(expected == got)
    common = sum((collections.Counter(expected) & collections.Counter(got)).values())
    # 2PR / (P + R) with P = common / |got| and R = common / |expected|
    return 2 * common / (len(expected) + len(got))
