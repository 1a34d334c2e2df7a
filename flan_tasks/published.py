"""The mixtures that the papers, the release and this project's brief name, as recipes.

Registered with seqio under their names. Shares and caps: the released mixtures and arXiv
2210.11416, table 23; baselines and ablations: arXiv 2301.13688, tables 1 and 2.
"""

import dataclasses
from collections.abc import Mapping

from flan_tasks.rates import Balance
from flan_tasks.recipes import CAPS, FLAN2022_SHARES, INVERSION_WEIGHTS, Recipe

# Flan 2021's datasets that are also in P3: with T0's own tasks they make up "P3++".
_ALSO_IN_P3 = (
    *("ag_news_subset", "anli_r1", "anli_r2", "anli_r3", "arc_challenge", "arc_easy", "bool_q"),
    *("cb", "cnn_dailymail", "cola", "common_gen", "copa", "cosmos_qa", "drop", "gigaword"),
    *("glue_mrpc", "glue_qqp", "hellaswag", "imdb_reviews", "lambada", "multi_news", "multirc"),
    *("natural_questions", "openbookqa", "paws_wiki", "piqa", "qnli", "quac", "record", "rte"),
    *("samsum", "squad_v1", "squad_v2", "sst2", "story_cloze", "stsb", "trec", "trivia_qa"),
    *("wic", "winogrande", "wsc", "xsum", "yelp_polarity_reviews"),
)
# Datasets that the release does without: theirs could not be redistributed.
_NOT_RELEASED = ("task_master",)
# The project's brief divides by what is asked: nine tenths over four kinds, a tenth to rationales.
_BRIEF_SHARES = {
    "collection:cot": 0.10,
    "kind:*question answering*": 0.27,
    "kind:natural language inference, kind:textual entailment": 0.27,
    "kind:translation": 0.18,
    "kind:*summarization": 0.18,
}


# How the released mixture balances; what other mixtures start from.
BALANCE = Balance(FLAN2022_SHARES, CAPS, inversion_weights=INVERSION_WEIGHTS)


def _balance(shares: Mapping[str, float]) -> Balance:
    return dataclasses.replace(BALANCE, shares=shares)


def _alone(collection: str) -> Recipe:
    return Recipe(_balance({collection: 1.0}))


_PAPER_A = {"flan2021": 0.52, "t0": 0.15, "niv2": 0.30, "cot": 0.03}
_PAPER_B = {"flan2021": 0.460, "t0": 0.279, "niv2": 0.242, "cot": 0.018}
_EQUAL = dict.fromkeys(("flan2021", "t0", "niv2", "cot", "dialog", "program_synthesis"), 1.0)

PUBLISHED: Mapping[str, Recipe] = {
    "flan2022": Recipe(BALANCE, exclude=_NOT_RELEASED),
    "flan2022_paper_a": Recipe(_balance(_PAPER_A)),
    "flan2022_paper_b": Recipe(_balance(_PAPER_B)),
    "flan2022_equal": Recipe(_balance(_EQUAL)),
    "flan2022_brief": Recipe(dataclasses.replace(_balance(_BRIEF_SHARES), few_shot_share=1 / 3)),
    **{collection: _alone(collection) for collection in _EQUAL},
    "p3_plus_plus": Recipe(_balance({}), include=("p3", *_ALSO_IN_P3)),
    "super_natural_instructions": Recipe(
        _balance({"niv2": 1.0}), exclude=("held_out:niv2_test", "held_out:niv2_xlingual_test")
    ),
}
