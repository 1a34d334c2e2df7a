"""Metrics of written text: how near it is to the references."""

import itertools
import re
from collections.abc import Mapping

import numpy as np

from flan_tasks.reading_metrics import best

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def rouge(targets, predictions) -> Mapping[str, float]:
    """ROUGE-1, ROUGE-2 and summary-level ROUGE-L: F-measures of stems, by rouge-score.

    The last one (rougeLsum) compares sentence with sentence; a sentence ends at a line's end, or at
    a full stop, question or exclamation mark before white space.
    """
    from rouge_score import rouge_scorer

    kinds = ["rouge1", "rouge2", "rougeLsum"]
    scorer = rouge_scorer.RougeScorer(kinds, use_stemmer=True)
    scores = [
        scorer.score_multi([_sentence_lines(text) for text in references], _sentence_lines(made))
        for references, made in zip(targets, predictions, strict=True)
    ]
    return {kind: 100 * float(np.mean([s[kind].fmeasure for s in scores])) for kind in kinds}


def bleu(targets, predictions) -> Mapping[str, float]:
    """BLEU of the corpus by sacrebleu, as WMT reports it (arXiv 1804.08771).

    Signature: case:mixed|eff:no|tok:13a|smooth:exp; with every reference that a row has.
    """
    from sacrebleu.metrics.bleu import BLEU

    # One stream for each first, second … reference; None where a row has no more.
    streams = [list(stream) for stream in itertools.zip_longest(*targets)]
    return {"bleu": BLEU(tokenize="13a").corpus_score(list(predictions), streams).score}


def edit_distance(targets, predictions) -> Mapping[str, float]:
    """Similarity by edits: 100 (1 - d / n).

    d is the Levenshtein distance in characters, case and all; n the longer text's length.
    """

    def similarity(target: str, prediction: str) -> float:
        return 1 - levenshtein(target, prediction) / max(len(target), len(prediction), 1)

    return {"edit_similarity": best(targets, predictions, similarity)}


def levenshtein(first: str, second: str) -> int:
    """The fewest insertions, deletions and substitutions of a character between two texts.

    >>> levenshtein("kitten", "sitting")
    3
    """
    codes = np.array([ord(char) for char in second], np.int64)
    places = np.arange(len(second) + 1)
    row = places
    for char in first:
        shifted = row[:-1] + (codes != ord(char))
        row = np.concatenate([row[:1] + 1, np.minimum(row[1:] + 1, shifted)])
        # An insertion costs 1 a place: the least of all that begin further left.
        row = np.minimum.accumulate(row - places) + places
    return int(row[-1])


def _sentence_lines(text: str) -> str:
    return _SENTENCE_END.sub("\n", text)
