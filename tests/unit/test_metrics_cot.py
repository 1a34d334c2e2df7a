"""The metric of rationales that end in an answer which need not be a number."""

import pytest
from card_samples import DATASETS, prompts

from flan_tasks import metrics

cot_answer = metrics.BY_NAME["cot_answer"]
WITH_COT_ANSWER = [dataset for dataset in DATASETS if "cot_answer" in dataset.metrics]
TARGET = "Ice is less dense. So the answer is (B)."


@pytest.mark.parametrize(
    ("prediction", "score"),
    [
        ("The answer is B", 100),
        ("First I thought that the answer is A. But no.\nTHE ANSWER IS (b)", 100),
        ("It is (B). The answer is (A).", 0),
        ("The answer is (B) or (C).", 0),
        ("(B)", 100),
        ("I can't say. (B)", 0),
        ("", 0),
    ],
)
def test_what_follows_the_last_answer_is_counts(prediction, score):
    assert cot_answer([[TARGET]], [prediction]) == {"accuracy": score}


@pytest.mark.parametrize(
    ("answer", "other"),
    [("yes", "no"), ("Sentence A", "Sentence B"), ("1.5", "15"), ("not possible", "possible")],
)
def test_other_answers_are_wrong(answer, other):
    targets = [[f"Because. The answer is {answer}."]] * 2
    predictions = [f"For reasons, the answer is: {each.upper()}!" for each in (answer, other)]
    assert cot_answer(targets, predictions) == {"accuracy": 50}


def test_any_reference_will_do():
    targets = [["So the answer is Lund.", "So the answer is Edda Lund."]]
    assert cot_answer(targets, ["The answer is Edda Lund."]) == {"accuracy": 100}


@pytest.mark.parametrize("dataset", WITH_COT_ANSWER, ids=lambda dataset: dataset.name)
def test_the_targets_of_every_card_end_where_the_metric_looks(dataset):
    for variant, _, row, filled in prompts(dataset):
        if not variant.inverted:
            answer = row.slots["answer"]
            assert cot_answer([[answer]], [filled.target]) == {"accuracy": 100}
            wrong = filled.target.removesuffix(f"{answer}.") + "quite another."
            assert cot_answer([[filled.target]], [wrong]) == {"accuracy": 0}
