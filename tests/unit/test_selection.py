"""Datasets chosen by what they are."""

import dataclasses
import time

import pytest

from flan_tasks import catalog, licenses, selection
from flan_tasks.errors import CardError


def names(*include, exclude=()):
    chosen = selection.select(catalog.load().values(), include, exclude)
    return {dataset.name for dataset in chosen}


def those(condition):
    return {dataset.name for dataset in catalog.load().values() if condition(dataset)}


@pytest.mark.parametrize(
    ("term", "condition"),
    [
        ("collection:cot", lambda each: each.collection == "cot"),
        ("kind:summarization", lambda each: each.kind == "summarization"),
        ("kind:*question answering", lambda each: each.kind.endswith("question answering")),
        ("license:share-alike", lambda each: "share-alike" in licenses.classes(each.license)),
        ("language:French", lambda each: "French" in each.languages),
        ("language:FRENCH", lambda each: "French" in each.languages),
        ("bool_q", lambda each: each.name == "bool_q"),
        ("name:bool_q", lambda each: each.name == "bool_q"),
        ("niv2", lambda each: each.family == "niv2"),
        ("anli_*", lambda each: each.name.startswith("anli_")),
        ("pair:*-English", lambda each: selection.pair(each).endswith("-English")),
        ("*", lambda each: True),
    ],
)
def test_a_term_selects_what_it_says(term, condition):
    assert names(term) == those(condition)


def test_all_without_terms():
    assert names() == set(catalog.load())


def test_terms_of_one_key_are_alternatives_and_keys_must_all_be_met():
    assert names("collection:cot", "collection:dialog") == names("collection:cot") | names(
        "collection:dialog"
    )
    both = names("collection:cot", "license:commercial")
    assert both == names("collection:cot") & names("license:commercial")
    assert names("bool_q", "rte", "kind:natural language inference") == {"rte"}


def test_any_one_term_excludes():
    rest = names("collection:flan2021", exclude=["kind:translation", "language:Spanish", "rte"])
    assert rest == those(
        lambda each: (
            each.collection == "flan2021"
            and each.kind != "translation"
            and "Spanish" not in each.languages
            and each.name != "rte"
        )
    )


@pytest.mark.parametrize(
    ("include", "exclude"),
    [(["license:commercial"], ["cot_*"]), (["language:English", "kind:translation"], ["niv2"])],
)
def test_the_order_of_choosing_does_not_matter(include, exclude):
    everything = list(catalog.load().values())
    at_once = selection.select(everything, include, exclude)
    assert at_once == selection.select(selection.select(everything, include), exclude=exclude)
    assert at_once == selection.select(selection.select(everything, exclude=exclude), include)
    assert at_once == selection.select(everything, include[::-1], exclude)


def test_a_pair_goes_from_the_first_language_to_the_second():
    card = catalog.get("wmt14_enfr")
    assert selection.pair(card) == "English-French"
    back = dataclasses.replace(card, name="back", languages=("French", "English"))
    assert selection.select([card, back], ["pair:French-*"]) == [back]
    assert selection.select([card, back], ["pair:english-french"]) == [card]


def test_only_translation_has_a_pair():
    card = dataclasses.replace(catalog.get("wmt14_enfr"), kind="language identification")
    assert selection.pair(card) == ""
    assert selection.pair(catalog.get("bool_q")) == ""


def test_a_held_out_list_selects_its_datasets_and_rows(monkeypatch):
    row = next(each for each in catalog.load().values() if "task_name" in each.constants)
    lists = {"mine": frozenset({"rte", row.constants["task_name"]})}
    monkeypatch.setattr(selection, "held_out", lambda: lists)
    assert names("held_out:mine") == {"rte", row.name}
    assert names(exclude=["held_out:mine"]) == set(catalog.load()) - {"rte", row.name}


def test_whatever_is_held_out_exists():
    everything = catalog.load().values()
    known = {name for each in everything for name in (each.name, each.constants.get("task_name"))}
    assert selection.held_out().keys() >= {"niv2_test", "niv2_xlingual_test"}
    for name, listed in selection.held_out().items():
        assert listed, name
        assert listed <= known, name


@pytest.mark.parametrize(
    ("term", "complaint"),
    [
        ("licence:commercial", "Did you mean: license"),
        ("license:comercial", "Did you mean: commercial"),
        ("language:Frensh", "Did you mean: French"),
        ("kind:sumarisation", "Did you mean: summarization"),
        ("collection:flan", "Did you mean: flan2021"),
        ("boolq", "Did you mean: bool_q"),
        ("nothing_*_of_it", "in all"),
        ("pair:French", "pair"),
        ("held_out:niv2_tests", "Did you mean: niv2_test"),
        ("language:", "There are"),
    ],
)
@pytest.mark.parametrize("key", ["include", "exclude"])
def test_a_term_that_selects_nothing_is_an_error(term, complaint, key):
    with pytest.raises(CardError, match=complaint) as error:
        selection.select(catalog.load().values(), **{key: ["*", term]})
    assert term in str(error.value)


@pytest.mark.parametrize(
    ("include", "exclude"), [((), ["*"]), (["rte"], ["rte"]), (["rte", "kind:translation"], ())]
)
def test_nothing_left_is_an_error(include, exclude):
    with pytest.raises(CardError, match=r"no dataset is .*\n.*use fewer"):
        names(*include, exclude=exclude)


def test_two_thousand_datasets_take_milliseconds():
    card = catalog.get("rte")
    many = [dataclasses.replace(card, name=f"rte_{number}") for number in range(2000)]
    start = time.perf_counter()
    selection.select(many, ["license:unstated", "rte_*", "language:English"], ["rte_1*"])
    assert time.perf_counter() - start < 0.5  # some 10 ms
