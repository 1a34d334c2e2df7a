"""Metrics that ask which of a dataset's options was meant.

An option may have been asked for by its text or by its label ("(B)"): what the targets say of the
style they are written in decides what a prediction means. A prediction that is no option counts as
wrong.
"""

import collections
import re
from collections.abc import Mapping, Sequence

import numpy as np

from flan_tasks import options as option_styles
from flan_tasks.postprocess import References
from flan_tasks.reading_metrics import plain

# The class of a prediction that is no option.
NO_OPTION = -1
# What a prediction without a number counts as: one below the scale of 0 to 5.
NO_NUMBER = -1.0
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def f1_binary(targets, predictions, *, options: Sequence[str]) -> Mapping[str, float]:
    """F1 of the second option, as GLUE scores MRPC and QQP (arXiv 1804.07461).

    A prediction that is no option counts as the wrong one.
    """
    return {"f1": 100 * _f1(*_binary(targets, predictions, options))}


def matthews(targets, predictions, *, options: Sequence[str]) -> Mapping[str, float]:
    """100 times Matthews' correlation of two classes, as GLUE scores CoLA (arXiv 1804.07461).

    0 where all targets or all predictions are of one class. A prediction that is no option counts
    as the wrong one.
    """
    expected, got = _binary(targets, predictions, options)
    return {"matthews_corrcoef": 100 * _correlation(expected, got)}


def mean_f1(targets, predictions, *, options: Sequence[str]) -> Mapping[str, float]:
    """Unweighted mean of the options' F1, as SuperGLUE scores CB (arXiv 1905.00537)."""
    expected, got = classes(targets, predictions, options)
    scores = [_f1(expected == option, got == option) for option in range(len(options))]
    return {"mean_f1": 100 * float(np.mean(scores))}


def multirc(targets, predictions, *, options: Sequence[str]) -> Mapping[str, float]:
    """F1 of the second option over all answers, and exact match by question (arXiv 1905.00537).

    A question is matched when each of its answers is judged rightly. Which answers belong to one
    question the targets say (`References.group`); without that there is no exact match.
    """
    expected, got = _binary(targets, predictions, options)
    scores = {"f1a": 100 * _f1(expected, got)}
    groups = [_group(references) for references in targets]
    if None not in groups:
        right = collections.defaultdict(list)
        for group, is_right in zip(groups, (expected == got).tolist(), strict=True):
            right[group].append(is_right)
        scores["em"] = 100 * float(np.mean([all(answers) for answers in right.values()]))
    return scores


def pearson_spearman(targets, predictions, *, options: Sequence[str]) -> Mapping[str, float]:
    """100 times Pearson's and Spearman's correlation, as GLUE scores STS-B (arXiv 1804.07461).

    What counts is the first number in a text or, where a label is asked for, in the option that it
    labels; a prediction without one is NO_NUMBER. A target may be a number that is no option, such
    as the mean of several judgments. 0 where targets or predictions are all equal.
    """
    from scipy import stats

    expected, got = [], []
    for references, prediction in zip(targets, predictions, strict=True):
        answers = _answers(references, options)
        by_answer = dict(zip(map(plain, answers), options, strict=True))
        otherwise = prediction if answers is options else ""
        expected.append(_number(by_answer.get(plain(references[0]), references[0])))
        got.append(_number(by_answer.get(plain(prediction), otherwise)))
    return {
        "pearson_corrcoef": 100 * _correlation(np.array(expected), np.array(got)),
        "spearman_corrcoef": 100 * _correlation(stats.rankdata(expected), stats.rankdata(got)),
    }


def classes(targets, predictions, options: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which option each target and each prediction is: int64 [n]; NO_OPTION for no option.

    Raises:
      ValueError: a target is no option.
    """
    expected, got = [], []
    for references, prediction in zip(targets, predictions, strict=True):
        answers = {plain(text): i for i, text in enumerate(_answers(references, options))}
        if plain(references[0]) not in answers:
            raise ValueError(f"the target {references[0]!r} is none of {', '.join(answers)}")
        expected.append(answers[plain(references[0])])
        got.append(answers.get(plain(prediction), NO_OPTION))
    return np.array(expected, np.int64), np.array(got, np.int64)


def _answers(references: Sequence[str], options: Sequence[str]) -> Sequence[str]:
    """What has to be answered for each option: their labels, or `options` themselves."""
    name = references.style if isinstance(references, References) else ""
    style = option_styles.named(name) if name else None
    return style.answers(options) if style and style.item.answer_is_label else options


def _group(references: Sequence[str]) -> int | None:
    return references.group if isinstance(references, References) else None


def _number(text: str) -> float:
    found = _NUMBER.search(text)
    return float(found.group()) if found else NO_NUMBER


def _binary(targets, predictions, options: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Whether the second option is right, and predicted: bool [n]."""
    expected, got = classes(targets, predictions, options)
    return expected == 1, np.where(got == NO_OPTION, expected == 0, got == 1)


def _f1(expected: np.ndarray, got: np.ndarray) -> float:
    """F1 of two bool [n]; 0 where neither has a True."""
    either = expected.sum() + got.sum()
    return float(2 * (expected & got).sum() / either) if either else 0.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation; of two bool [n] it is Matthews'. 0 where one of them is constant."""
    if (first == first[0]).all() or (second == second[0]).all():
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
