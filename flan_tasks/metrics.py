"""Metrics over predictions and, for each, all acceptable answers: by the names in the cards.

Every function takes `targets` (a list of lists of references) and `predictions` (a list of texts)
and returns percentages. A prediction scores its best over the references. The functions lie in
`reading_metrics`, `writing_metrics` and `option_metrics`; those of the last also take the dataset's
options.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence

from flan_tasks import option_metrics, reading_metrics, writing_metrics
from flan_tasks.errors import CardError
from flan_tasks.reading_metrics import best, plain
from flan_tasks.spec import Dataset, Variant

Metric = Callable[[Sequence[Sequence[str]], Sequence[str]], Mapping[str, float]]

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_ANSWER_IS = re.compile(r"answer(?:\s+is)?\s*[:=]?\s*", re.IGNORECASE)
_CONCLUSION = re.compile(r"\banswer\s+is\b", re.IGNORECASE)


def accuracy(targets, predictions) -> Mapping[str, float]:
    """Share of predictions equal to an answer up to case and white space.

    Where options are listed under labels, the answer is what was asked for: label or text.
    """
    return {"accuracy": best(targets, predictions, lambda t, p: plain(t) == plain(p))}


def gsm8k_answer(targets, predictions) -> Mapping[str, float]:
    """Share of rationales that end in the right number (arXiv 2110.14168).

    The number after the last "answer is" counts, else the last number of the text.
    """

    def same(target: str, prediction: str) -> bool:
        return final_number(target) == final_number(prediction) is not None

    return {"accuracy": best(targets, predictions, same)}


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


def cot_answer(targets, predictions) -> Mapping[str, float]:
    """Share of rationales that end in the right answer, up to case and punctuation.

    What stands after the last "answer is" counts; without one, the whole text.
    """
    return {"accuracy": best(targets, predictions, lambda t, p: conclusion(t) == conclusion(p))}


def conclusion(text: str) -> str:
    """The words of the answer that a rationale ends in, in lower case.

    >>> conclusion("Ice is less dense than water. So the answer is (B).")
    'b'
    """
    *_, tail = _CONCLUSION.split(text)
    return " ".join(re.findall(r"\w+", tail.lower()))


BY_NAME: Mapping[str, Metric] = {
    "accuracy": accuracy,
    "exact_match": reading_metrics.exact_match,
    "squad": reading_metrics.squad,
    "record": reading_metrics.squad,  # ReCoRD scores as SQuAD does (arXiv 1810.12885, section 5)
    "token_f1": reading_metrics.token_f1,
    "trivia_qa": reading_metrics.trivia_qa,
    "drop": reading_metrics.drop,
    "rouge": writing_metrics.rouge,
    "bleu": writing_metrics.bleu,
    "edit_distance": writing_metrics.edit_distance,
    "gsm8k_answer": gsm8k_answer,
    "cot_answer": cot_answer,
}
# These also take `options`, the texts of the dataset's options: they ask which one was meant.
OF_OPTIONS: Mapping[str, Callable[..., Mapping[str, float]]] = {
    "f1_binary": option_metrics.f1_binary,
    "matthews": option_metrics.matthews,
    "mean_f1_3class": option_metrics.mean_f1,
    "multirc": option_metrics.multirc,
    "pearson_spearman": option_metrics.pearson_spearman,
}
_OF_TEXT = {"rouge", "bleu", "edit_distance"}
_OF_TWO_OPTIONS = {"f1_binary", "matthews", "multirc"}


def functions(dataset: Dataset, variant: Variant) -> list[Metric]:
    """The metrics of a task.

    An inverted one writes text, whatever the dataset's answers are: it is scored by the dataset's
    own metrics of text, ROUGE if there are none.

    Raises:
      CardError: there is no such metric, or the dataset's options are not what it needs.
    """
    names = dataset.metrics
    if variant.inverted:
        names = tuple(name for name in names if name in _OF_TEXT) or ("rouge",)
    return [_function(name, dataset) for name in names]


def _function(name: str, dataset: Dataset) -> Metric:
    if name in BY_NAME:
        return BY_NAME[name]
    where = f"{dataset.name} [metrics]"
    if name not in OF_OPTIONS:
        known = ", ".join(sorted({*BY_NAME, *OF_OPTIONS}))
        raise CardError(f"there is no metric {name!r}", where=where, remedy=f"There are: {known}.")
    options = dataset.answer.options
    if (name in _OF_TWO_OPTIONS and len(options) != 2) or (
        name == "mean_f1_3class" and not options
    ):
        raise CardError(
            f"{name!r} is no metric for {len(options)} options that all rows share",
            where=where,
            remedy="Mend options of [answer], or take another metric.",
        )
    return functools.partial(OF_OPTIONS[name], options=options)
