"""Metrics against values worked out by hand."""

import math
import pickle

import pytest
from example_dataset import dataset

from flan_tasks import metrics, options, postprocess
from flan_tasks.errors import CardError
from flan_tasks.postprocess import References
from flan_tasks.spec import Answer, Variant

FORWARD = Variant.of_setting("zs_opt")
NO_YES = ("no", "yes")


def score(name, targets, predictions, **keywords):
    function = {**metrics.BY_NAME, **metrics.OF_OPTIONS}[name]
    targets = [[each] if isinstance(each, str) else each for each in targets]
    return {
        key: round(value, 3) for key, value in function(targets, predictions, **keywords).items()
    }


def style(*, label):
    """A style of options; with `label`, (A), (B) … are the answers."""
    item = options.ItemStyle("({mark})", "upper", " ", "\n", answer_is_label=label)
    return next(each for each in options.STYLES if each.item == item)


def asked(texts, *, label=True, group=None):
    """What the evaluator gives as targets where options are listed in one style."""
    return [References([text], style(label=label).name, group) for text in texts]


# Answers


def test_accuracy_does_not_mind_case_and_white_space():
    assert score("accuracy", ["Yes", "no", "a b"], [" yes", "nope", "A  b"]) == {"accuracy": 66.667}


def test_accuracy_takes_the_best_of_the_references():
    assert score("accuracy", [["4", "four"]], ["Four"]) == {"accuracy": 100}


def test_accuracy_asks_for_what_the_style_asks_for():
    targets = asked(["(A)", "(A)", "(A)"])
    assert score("accuracy", targets, ["(a)", "no", "(B)"]) == {"accuracy": 33.333}


def test_squad_forgets_articles_and_punctuation():
    # "big red bus" and "red bus": 2 common words, P = 1, R = 2/3, F1 = 0.8
    assert score("squad", ["the big, red bus"], ["Red bus!"]) == {"em": 0, "f1": 80}
    assert score("squad", ["The Beatles."], ["beatles"]) == {"em": 100, "f1": 100}
    assert score("record", [["Rome", "Italy"], "Oslo"], ["italy", "Bergen"]) == {"em": 50, "f1": 50}


def test_squad_counts_a_repeated_word_once_for_each_time_it_is_there():
    assert score("token_f1", ["ho ho ho"], ["ho"]) == {"f1": 50}
    assert score("token_f1", ["the"], ["a"]) == {"f1": 100}  # nothing but articles on both sides
    assert score("token_f1", ["the"], ["x"]) == {"f1": 0}


def test_trivia_qa_puts_spaces_for_punctuation_and_tries_every_alias():
    assert score("trivia_qa", ["Jean-Paul"], ["jean paul"]) == {"em": 100, "f1": 100}
    assert score("trivia_qa", ["rock_’n’_roll"], ["the rock n roll"]) == {"em": 100, "f1": 100}
    assert score("squad", ["Jean-Paul"], ["jean paul"]) == {"em": 0, "f1": 0}
    both = [["UK", "United Kingdom"], ["Nile"]]
    # second: 1 common word of 2 and 1: 2 * 1 / 3
    assert score("trivia_qa", both, ["united kingdom", "Nile River"]) == {"em": 50, "f1": 83.333}


@pytest.mark.parametrize(
    ("target", "prediction", "em", "f1"),
    [
        ("7", "7.0", 100, 100),
        ("$5", "5", 100, 100),
        ("7 yards", "7-yards", 100, 100),
        ("7 yards", "8 yards", 0, 0),  # another number: nothing is right
        ("7 yards", "7", 0, 67),  # 2 * 1 / 3, rounded to two decimals
        ("Tom Brady", "brady", 0, 67),
        ("Smith; Jones", "Jones; Smith", 100, 100),
        ("Smith; Jones", "Jones", 0, 50),
        ("Smith", "Jones; Smith; Brown", 0, 33),
        ("the Giants", "Giants", 100, 100),
    ],
)
def test_drop(target, prediction, em, f1):
    assert score("drop", [target], [prediction]) == {"em": em, "f1": f1}


def test_drop_takes_the_best_of_the_references():
    assert score("drop", [["3", "three"]], ["three"]) == {"em": 100, "f1": 100}


def test_the_number_a_rationale_ends_in():
    targets = ["2 + 2 = 4. The answer is 4.", "So it costs $1,200"]
    assert score("gsm8k_answer", targets, ["The answer is 4", "1200.0"]) == {"accuracy": 100}
    assert score("gsm8k_answer", targets, ["The answer is 5, not 4", "none"]) == {"accuracy": 0}


# Text


def test_rouge():
    # Unigrams: 2 of 3 and 2 of 2: 0.8; bigrams: 1 of 2 and 1 of 1: 2/3.
    expected = {"rouge1": 80, "rouge2": 66.667, "rougeLsum": 80}
    assert score("rouge", ["small cats sleep"], ["cats sleeping"]) == expected
    assert score("rouge", [["birds", "small cats sleep"]], ["cats sleeping"]) == expected


def test_rouge_lsum_compares_sentence_with_sentence():
    swapped = score("rouge", ["Cats sleep. Dogs bark."], ["Dogs bark. Cats sleep."])
    assert swapped["rougeLsum"] == 100
    assert swapped["rouge2"] == 66.667  # "sleep dogs" became "bark cats"


def test_bleu():
    assert score("bleu", ["The cat sat on the mat."], ["The cat sat on the mat."]) == {"bleu": 100}
    # Precisions 5/6, 3/5, 2/4, 1/3; lengths are equal: no brevity penalty.
    made = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    got = score("bleu", ["the cat sat on the mat"], ["the cat sat on a mat"])
    assert got["bleu"] == pytest.approx(made, abs=1e-3)


def test_bleu_is_of_the_corpus_minds_case_and_knows_brevity():
    # 4 of 4 words of 8: precisions 1, brevity penalty exp(1 - 8 / 4)
    got = score("bleu", ["one two three four five six seven eight"], ["one two three four"])
    assert got["bleu"] == pytest.approx(100 * math.exp(-1), abs=1e-3)
    assert score("bleu", ["One Two Three Four"], ["one two three four"])["bleu"] == 0


def test_bleu_takes_rows_with_different_numbers_of_references():
    targets = [["it is raining now .", "rain is falling now ."], ["good day to you all"]]
    assert score("bleu", targets, ["rain is falling now .", "good day to you all"]) == {"bleu": 100}


@pytest.mark.parametrize(
    ("target", "prediction", "similarity"),
    [
        ("kitten", "sitting", 100 * (1 - 3 / 7)),
        ("abc", "abc", 100),
        ("abc", "ABC", 0),
        ("abcd", "", 0),
        ("", "", 100),
        ("ab", "ba", 0),
        ("æøå", "æå", 100 * (1 - 1 / 3)),
        ("intention", "execution", 100 * (1 - 5 / 9)),
    ],
)
def test_edit_distance(target, prediction, similarity):
    got = score("edit_distance", [target], [prediction])
    assert got == {"edit_similarity": round(similarity, 3)}


# Options


def test_f1_is_of_the_second_option_and_no_option_is_the_wrong_one():
    # yes: 2 right, 1 missed; "maybe" for a no is one yes too many: 2 * 2 / (3 + 3)
    targets = ["yes", "yes", "yes", "no", "no"]
    predictions = ["yes", "Yes", "no", "maybe", "no"]
    assert score("f1_binary", targets, predictions, options=NO_YES) == {"f1": 66.667}
    assert score("f1_binary", ["yes", "no"], ["?", "no"], options=NO_YES) == {"f1": 0}


def test_matthews():
    # tp 2, tn 1, fp 1, fn 1: (2 - 1) / sqrt(3 * 3 * 2 * 2) = 1/6
    targets = ["yes", "yes", "yes", "no", "no"]
    predictions = ["yes", "yes", "no", "perhaps", "no"]
    got = score("matthews", targets, predictions, options=NO_YES)
    assert got == {"matthews_corrcoef": 16.667}
    same = score("matthews", ["yes", "no"], ["yes", "yes"], options=NO_YES)
    assert same == {"matthews_corrcoef": 0}
    opposite = score("matthews", ["yes", "no"], ["no", "yes"], options=NO_YES)
    assert opposite == {"matthews_corrcoef": -100}


def test_mean_f1_of_three_classes():
    # x: 1 right of 2, 1 predicted: 2/3; y: 1 of 1, 2 predicted: 2/3; z: 0 of 1
    targets, predictions = ["x", "x", "y", "z"], ["x", "y", "y", "w"]
    got = score("mean_f1_3class", targets, predictions, options=("x", "y", "z"))
    assert got == {"mean_f1": 44.444}


def test_correlations():
    # Targets 0 1 2 3, predictions 0 0 1 5: covariances 8, 5 and 17: 8 / sqrt(5 * 17);
    # ranks 1.5 1.5 3 4: 4.5 / sqrt(5 * 4.5)
    numbers = ("0", "1", "2", "3")
    got = score("pearson_spearman", numbers, ["0", "0.0", "about 1", "5"], options=numbers)
    assert got["pearson_corrcoef"] == pytest.approx(100 * 8 / math.sqrt(85), abs=1e-3)
    assert got["spearman_corrcoef"] == pytest.approx(100 * 4.5 / math.sqrt(22.5), abs=1e-3)
    nothing = score("pearson_spearman", numbers, ["-"] * 4, options=numbers)
    assert nothing == {"pearson_corrcoef": 0, "spearman_corrcoef": 0}


def test_a_text_without_a_number_is_below_the_scale():
    with_text = score("pearson_spearman", ["0", "5"], ["alike", "1"], options=())
    with_number = score("pearson_spearman", ["0", "5"], ["-1", "1"], options=())
    assert with_text == with_number


def test_multirc_scores_all_answers_and_whole_questions():
    # yes: 2 right, 1 missed, none too many: 4 / 5; the first question has a wrong one.
    texts, predictions = ["yes", "no", "yes", "yes"], ["yes", "no", "no", "yes"]
    targets = [
        References([text], group=group) for text, group in zip(texts, [7, 7, 7, 8], strict=True)
    ]
    assert score("multirc", targets, predictions, options=NO_YES) == {"f1a": 80, "em": 50}
    assert score("multirc", texts, predictions, options=NO_YES) == {"f1a": 80}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("f1_binary", "f1"),
        ("matthews", "matthews_corrcoef"),
        ("mean_f1_3class", "mean_f1"),
        ("multirc", "f1a"),
    ],
)
def test_metrics_of_options_understand_labels_and_texts(name, key):
    texts, predictions = ["yes", "no", "yes", "no"], ["yes", "no", "no", "yes"]
    as_label = {"no": "(A)", "yes": "(B)"}
    plain = score(name, texts, predictions, options=NO_YES)
    listed = score(name, asked(texts, label=False), predictions, options=NO_YES)
    labels = [as_label[each] for each in predictions]
    labelled = score(name, asked(map(as_label.get, texts)), labels, options=NO_YES)
    assert plain[key] == listed[key] == labelled[key]
    # Where a label is asked for, the option's text is no answer.
    perfect = score(name, asked(map(as_label.get, texts)), map(as_label.get, texts), options=NO_YES)
    wrong = score(name, asked(map(as_label.get, texts)), texts, options=NO_YES)
    assert perfect[key] == 100 and wrong[key] <= 0


def test_correlations_read_the_number_that_a_label_stands_for():
    numbers = ("5", "3", "0")
    targets = asked(["(A)", "(B)", "(C)"])
    right = score("pearson_spearman", targets, ["(A)", "(b)", "(C)"], options=numbers)
    assert right == {"pearson_corrcoef": 100, "spearman_corrcoef": 100}
    # No label: NO_NUMBER each, whatever number is in it.
    none = score("pearson_spearman", targets, ["5", "3", "(D)"], options=numbers)
    assert none == {"pearson_corrcoef": 0, "spearman_corrcoef": 0}


def test_correlations_are_with_a_mean_that_is_no_option():
    listed = style(label=True).name
    targets = [References([mean], listed) for mean in ("0.4", "2.6", "3.0")]
    got = score("pearson_spearman", targets, ["(A)", "(C)", "(B)"], options=("0", "3", "2"))
    # Predictions 0 2 3: deviations -1.6 0.6 1 and -5/3 1/3 4/3 of the means
    first, second = (-1.6, 0.6, 1.0), (-5 / 3, 1 / 3, 4 / 3)
    norms = math.sqrt(sum(x * x for x in first) * sum(y * y for y in second))
    expected = 100 * sum(x * y for x, y in zip(first, second, strict=True)) / norms
    assert got["pearson_corrcoef"] == pytest.approx(expected, abs=1e-3)
    assert got["spearman_corrcoef"] == 100


def test_a_target_that_is_no_option_is_a_fault():
    with pytest.raises(ValueError, match="none of no, yes"):
        score("f1_binary", ["maybe"], ["yes"], options=NO_YES)


# What reaches a metric


def test_targets_carry_their_style_and_predictions_are_text():
    listed = style(label=True)
    example = {"references": [b"(B)", "(b)"], "style": listed.name.encode(), "group": 3}
    target = postprocess.references_or_text("(B)", example=example, is_target=True)
    assert target == ["(B)", "(b)"]
    assert (target.style, target.group) == (listed.name, 3)
    again = pickle.loads(pickle.dumps(target))
    assert (again, again.style, again.group) == (target, listed.name, 3)
    assert postprocess.references_or_text(" (B)\n") == "(B)"


def test_an_example_without_options_has_no_style():
    target = postprocess.references_or_text("x", example={"references": [b"x"]}, is_target=True)
    assert (target, target.style, target.group) == (["x"], "", None)


def test_functions_know_the_datasets_options():
    card = dataset(metrics=("accuracy", "f1_binary"))
    accuracy, f1 = metrics.functions(card, FORWARD)
    assert accuracy([["yes"]], ["yes"]) == {"accuracy": 100}
    assert f1(targets=[["yes"]], predictions=["yes"]) == {"f1": 100}


def test_an_inverted_task_is_scored_as_text():
    backwards = Variant.of_setting("zs_opt", inverted=True)
    (function,) = metrics.functions(dataset(metrics=("f1_binary",)), backwards)
    assert function([["rain"]], ["rain"])["rouge1"] == 100
    (function,) = metrics.functions(dataset(metrics=("exact_match", "bleu")), backwards)
    assert list(function([["rain"]], ["rain"])) == ["bleu"]


def test_unknown_and_unfit_metrics_are_faults_of_the_card():
    with pytest.raises(CardError, match=r"no metric 'acuracy'[\s\S]*accuracy"):
        metrics.functions(dataset(metrics=("acuracy",)), FORWARD)
    three = Answer(label="label", options=("a", "b", "c"))
    with pytest.raises(CardError, match="3 options"):
        metrics.functions(dataset(answer=three, metrics=("f1_binary",)), FORWARD)
