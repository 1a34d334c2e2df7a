"""Classification of questions."""

from collections.abc import Mapping
from typing import Any

from flan_tasks.clean import Drop, Fields
from flan_tasks.clean.running_text import untokenize

# The Hub's order of TREC's coarse classes, as positions in TFDS's: DESC ENTY ABBR HUM NUM LOC.
_TREC_CLASSES_OF_HUB = (2, 1, 0, 3, 5, 4)  # ABBR ENTY DESC HUM LOC NUM


def trec(row: Mapping[str, Any]) -> Fields:
    """A question and the class of what it asks for, numbered as TFDS numbers the coarse classes.

    Reads TFDS's rows, {label-coarse, text}, and the Hub's, {coarse_label, text}. The text is split
    into tokens in both; here it is whole.
    """
    label = row["label-coarse"] if "label-coarse" in row else row["coarse_label"]
    if label is None or label == -1:
        raise Drop("no label")
    if "label-coarse" not in row:
        label = _TREC_CLASSES_OF_HUB[label]
    return {"text": untokenize(row["text"]), "label": label}
