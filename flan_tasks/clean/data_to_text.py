"""Data to text: concepts, triples or attributes, and sentences that express them."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_tasks.clean import Fields
from flan_tasks.clean.running_text import untokenize


def common_gen(row: Mapping[str, Any]) -> Fields:
    """Concepts and a sentence that contains them, from TFDS's and the Hub's rows."""
    return {
        "concepts": ", ".join(row["concepts"]),
        "concepts_newline": "\n".join(row["concepts"]),
        **_written(row["target"], row["references"]),
    }


def dart(row: Mapping[str, Any]) -> Fields:
    """Triples of subject, relation and object, and a text that states them.

    Reads TFDS's and the Hub's rows, {tripleset: ["s r o", ...], target, references}, and the
    published JSON's, a row for each annotation: {tripleset: [[s, r, o], ...], text}.
    """
    triples = [
        " ".join((triple if isinstance(triple, str) else " ".join(triple)).split())
        for triple in row["tripleset"]
    ]
    return {
        "tripleset": "; ".join(triples),
        "tripleset_newline": "\n".join(triples),
        **_written(row["target"] if "target" in row else row["text"], row.get("references", ())),
    }


def e2e_nlg(row: Mapping[str, Any]) -> Fields:
    """A restaurant's attributes, "name[…], food[…]", and a description.

    Reads TFDS's and the Hub's rows, {meaning_representation, target, references}, and the published
    CSV's, {mr, ref}.
    """
    if "mr" in row:
        return {"meaning_representation": row["mr"], **_written(row["ref"], ())}
    return {
        "meaning_representation": row["meaning_representation"],
        **_written(row["target"], row["references"]),
    }


def web_nlg(row: Mapping[str, Any]) -> Fields:
    """Triples from DBpedia, "subject | property | value", and a text that states them.

    Reads TFDS's and the Hub's rows. Names lose their underscores, values their quotation marks.
    """
    triples = [
        " | ".join(part.replace("_", " ").strip(' "') for part in triple.split(" | "))
        for triple in row["input"]
    ]
    return {
        "input_string": "; ".join(triples),
        "input_newline": "\n".join(triples),
        **_written(row["target"], row["references"]),
    }


def _written(target: str, references: Sequence[str]) -> Fields:
    """The text to write and all acceptable ones; training rows list no others."""
    texts = [untokenize(text) for text in (target, *references)]
    return {"target": texts[0], "references": list(dict.fromkeys(filter(None, texts)))}
