"""Inference: whether a text follows from another, means the same, or speaks of the same thing."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import squeeze, untokenize

# The classes in the order of TFDS's and the Hub's integers, by the names that the files give them.
_ENTAILED_OR_NOT = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_COMMITMENT = ("entailment", "contradiction", "neutral")
_ANLI = ("e", "n", "c")
_FALSE_OR_TRUE = ("False", "True")
# SNLI writes "-" where the annotators did not agree; TFDS and the Hub write -1.
_NO_LABEL = (None, "", "-", "-1", -1)

# What some tokenizers do and the Penn Treebank's does not: " so " and did n 't.
_QUOTED = re.compile(r'(?<!\S)" (.+?) "(?!\S)')
_SPLIT_NOT = re.compile(r"n 't\b")


def rte(row: Mapping[str, Any]) -> Fields:
    """A text and a sentence that follows from it (0) or not (1).

    Reads TFDS's and the Hub's rows, label an integer, and SuperGLUE's, label a class's name.
    """
    return _premise_and_hypothesis(row, _ENTAILED_OR_NOT)


def cb(row: Mapping[str, Any]) -> Fields:
    """A discourse and a clause that it affirms (0), denies (1) or leaves open (2).

    Reads TFDS's and the Hub's rows, label an integer, and SuperGLUE's, label a class's name.
    """
    return _premise_and_hypothesis(row, _COMMITMENT)


def three_way(row: Mapping[str, Any]) -> Fields:
    """SNLI and MultiNLI: the premise entails the hypothesis (0), neither (1), contradicts it (2).

    Reads TFDS's and the Hub's rows, {premise, hypothesis, label}, and the published files',
    {sentence1, sentence2, gold_label}.
    """
    return _premise_and_hypothesis(row, _THREE_WAY)


def anli(row: Mapping[str, Any]) -> Fields:
    """Adversarial NLI, with the classes of `three_way`; the published rows call them e, n and c."""
    return {
        "context": squeeze(_column(row, "context", "premise")),
        "hypothesis": squeeze(row["hypothesis"]),
        "label": _class(row["label"], _ANLI),
    }


def qnli(row: Mapping[str, Any]) -> Fields:
    """A question and a sentence that holds its answer (0) or not (1).

    Reads TFDS's and the Hub's rows, label an integer, and GLUE's, label a class's name.
    """
    return {
        "question": squeeze(row["question"]),
        "sentence": squeeze(row["sentence"]),
        "label": _class(row["label"], _ENTAILED_OR_NOT),
    }


def wic(row: Mapping[str, Any]) -> Fields:
    """A word in two sentences, in different senses (0) or in the same (1).

    Reads TFDS's and the Hub's rows, label an integer, and SuperGLUE's, label true or false.
    """
    return {
        "word": row["word"],
        "sentence1": row["sentence1"],
        "sentence2": row["sentence2"],
        "label": _class(row["label"], _FALSE_OR_TRUE),
    }


def wsc(row: Mapping[str, Any]) -> Fields:
    """A text, a noun phrase in it (text1) and a pronoun (text2) that refers to it (1) or not (0).

    Reads TFDS's and the Hub's rows, with the spans as columns, and SuperGLUE's, with the spans in
    `target`. `marked` is the text with asterisks about the pronoun, which may occur several times;
    it is empty where the source's index is wrong.
    """
    spans = row.get("target", row)
    pronoun = spans["span2_text"]
    return {
        "context": detokenized(row["text"]),
        "marked": detokenized(_marked(row["text"], pronoun, spans["span2_index"])),
        "text1": detokenized(spans["span1_text"]),
        "text2": pronoun,
        "label": _class(row["label"], _FALSE_OR_TRUE),
    }


def paraphrase(row: Mapping[str, Any]) -> Fields:
    """Two tokenised sentences that differ in meaning (0) or do not (1): MRPC and PAWS."""
    return {
        "sentence1": detokenized(row["sentence1"]),
        "sentence2": detokenized(row["sentence2"]),
        "label": _class(row["label"], ()),
    }


def stsb(row: Mapping[str, Any]) -> Fields:
    """Two sentences and how alike they are, from 0 to 5.

    The annotators gave whole numbers and the score is their mean: the label is the whole number
    nearest to it (a half goes to the even one), and the score itself is kept as the reference.

    Reads TFDS's and the Hub's rows, {sentence1, sentence2, label}, and GLUE's, with a `score`.
    """
    score = _column(row, "label", "score")
    if score in _NO_LABEL:
        raise Drop("no label")
    return {
        "sentence1": detokenized(row["sentence1"]),
        "sentence2": detokenized(row["sentence2"]),
        "label": round(float(score)),
        # TFDS holds 3.8 as a 32-bit 3.799999952…
        "scores": [f"{float(score):g}"],
    }


def detokenized(text: str) -> str:
    r"""A text whose tokens are divided by spaces, as one would write it.

    >>> print(detokenized('" Rain , " they said ( it didn \'t stop ) .'))
    "Rain," they said (it didn't stop).
    """
    return untokenize(_SPLIT_NOT.sub("n't", _QUOTED.sub(r"`` \1 ''", text)))


def _premise_and_hypothesis(row: Mapping[str, Any], classes: Sequence[str]) -> Fields:
    return {
        "premise": squeeze(_column(row, "premise", "sentence1")),
        "hypothesis": squeeze(_column(row, "hypothesis", "sentence2")),
        "label": _class(_column(row, "label", "gold_label"), classes),
    }


def _column(row: Mapping[str, Any], name: str, other_name: str) -> Any:
    """The value of a column that the sources call by either name."""
    return row[name] if name in row else row[other_name]


def _class(label: Any, classes: Sequence[str]) -> int:
    """A class's index, given as a number, as digits or as the class's name."""
    if label in _NO_LABEL:
        raise Drop("no label")
    if label in classes:
        return classes.index(label)
    return int(label)


def _marked(text: str, span: str, index: int) -> str:
    """The text with asterisks about the span that begins with word number `index`."""
    words = text.split()
    stop = index + len(span.split())
    before, found, after = words[:index], " ".join(words[index:stop]), words[stop:]
    # A word may have a comma or quotation marks on it.
    start = found.casefold().find(span.casefold())
    if start < 0:
        return ""
    end = start + len(span)
    marked = f"{found[:start]}*{found[start:end]}*{found[end:]}"
    return " ".join([*before, marked, *after])
