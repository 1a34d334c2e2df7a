"""Recipes: what is chosen, and what the published mixtures come to."""

import dataclasses
import math

import pytest

from flan_tasks import catalog, rates, recipes, sources
from flan_tasks.errors import MixtureError
from flan_tasks.published import PUBLISHED
from flan_tasks.recipes import Recipe

ALL = Recipe(rates.Balance({}))


def names(resolved):
    return {leaf.dataset.name for leaf in resolved.leaves}


def sums(resolved, key):
    found = {}
    for leaf in resolved.leaves:
        found[key(leaf)] = found.get(key(leaf), 0) + leaf.rate
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_mixture_resolves_and_its_rates_sum_to_one(name):
    resolved = recipes.resolve(PUBLISHED[name])
    assert math.fsum(resolved.rates.values()) == pytest.approx(1, abs=1e-12)
    assert list(resolved.rates) == sorted(resolved.rates)
    assert not resolved.missing


def test_flan2022_is_what_the_released_rules_give():
    """Share of the collection, over settings, over the capped cases of the setting's tasks."""
    caps = {"flan2021": 30_000, "t0": 20_000, "cot": 100_000, "niv2": 5_000, "dialog": 200_000}
    shares = {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
    num_settings = {"flan2021": 4, "t0": 4, "niv2": 2, "cot": 2, "dialog": 2}
    weights = {}
    for dataset in catalog.load().values():
        collection = dataset.collection
        if collection not in shares or dataset.name == "task_master":
            continue
        for variant in dataset.variants:
            cases = rates.num_cases(dataset, variant.setting)
            weight = sum(min(each, caps[collection]) for each in cases)
            if variant.inverted:
                weight *= {"cot": 0.3, "dialog": 0.3}.get(collection, 0)
            task = f"{dataset.name}_{variant.name}"
            weights.setdefault((collection, variant.setting), {})[task] = weight
    expected = {
        task: shares[collection] / num_settings[collection] * weight / sum(tasks.values())
        for (collection, _), tasks in weights.items()
        for task, weight in tasks.items()
        if weight
    }
    assert recipes.resolve(PUBLISHED["flan2022"]).rates == pytest.approx(expected, rel=1e-9)


def test_shares_of_the_papers_mixtures():
    collection = lambda leaf: leaf.dataset.collection  # noqa: E731
    paper_b = {"flan2021": 0.460, "t0": 0.279, "niv2": 0.242, "cot": 0.018}
    found = sums(recipes.resolve(PUBLISHED["flan2022_paper_b"]), collection)
    assert found == pytest.approx({name: share / 0.999 for name, share in paper_b.items()})
    equal = sums(recipes.resolve(PUBLISHED["flan2022_equal"]), collection)
    assert equal == pytest.approx(dict.fromkeys(equal, 1 / 6)) and len(equal) == 6


def test_the_briefs_mixture_is_by_prompt_and_by_kind():
    resolved = recipes.resolve(PUBLISHED["flan2022_brief"])
    by_group = sums(resolved, lambda leaf: leaf.group.partition(",")[0])
    assert by_group == pytest.approx(
        {
            "collection:cot": 0.10,
            "kind:*question answering*": 0.27,
            "kind:natural language inference": 0.27,
            "kind:translation": 0.18,
            "kind:*summarization": 0.18,
        }
    )
    prompts = sums(
        resolved,
        lambda leaf: "cot" if leaf.group == "collection:cot" else leaf.variant.few_shot,
    )
    assert prompts == pytest.approx({False: 0.6, True: 0.3, "cot": 0.1})


def test_super_natural_instructions_alone_keeps_off_its_test_tasks():
    found = names(recipes.resolve(PUBLISHED["super_natural_instructions"]))
    assert found < names(recipes.resolve(PUBLISHED["niv2"]))
    assert "niv2_task1385_anli_r1_entailment" not in found


@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_of_one_seed_are_nested(seed):
    drawn = [
        names(recipes.resolve(dataclasses.replace(ALL, num_datasets=count, subset_seed=seed)))
        for count in (8, 25, 50)
    ]
    assert [len(each) for each in drawn] == [8, 25, 50]
    assert drawn[0] < drawn[1] < drawn[2]


def test_another_seed_draws_others_and_a_subset_stays_what_it_was_when_datasets_go():
    few = dataclasses.replace(ALL, num_datasets=8)
    first = names(recipes.resolve(few))
    assert first != names(recipes.resolve(dataclasses.replace(few, subset_seed=1)))
    kept = sorted(first)[1:]
    other = next(name for name in catalog.load() if name not in first)
    without = dataclasses.replace(few, exclude=(other,))
    assert set(kept) < names(recipes.resolve(without))


@pytest.mark.parametrize("count", [0, 10**6])
def test_a_subset_of_none_or_too_many_is_refused(count):
    with pytest.raises(MixtureError, match=f"num_datasets is {count}, and there are"):
        recipes.resolve(dataclasses.replace(ALL, num_datasets=count))


def test_including_and_excluding_commute():
    include, exclude = ("collection:flan2021", "collection:cot"), ("kind:*inference*", "bool_q")
    both = names(recipes.resolve(dataclasses.replace(ALL, include=include, exclude=exclude)))
    only = names(recipes.resolve(dataclasses.replace(ALL, include=include)))
    without = names(recipes.resolve(dataclasses.replace(ALL, exclude=exclude)))
    assert both == only & without


def test_what_is_missing_is_skipped_if_so_asked_and_told(tmp_path):
    settings = sources.settings(use=("samples",), store_dir=str(tmp_path))
    recipe = dataclasses.replace(PUBLISHED["niv2"], on_missing="skip")
    resolved = recipes.resolve(recipe, settings)
    assert "niv2_task1146_country_capital" in names(resolved)
    assert names(resolved) | set(resolved.missing) == names(recipes.resolve(PUBLISHED["niv2"]))
    assert not names(resolved) & set(resolved.missing)
    assert math.fsum(resolved.rates.values()) == pytest.approx(1)
    name, why = next(iter(resolved.missing.items()))
    assert name.startswith("niv2_task") and why


def test_a_misspelt_policy_or_term_is_refused():
    with pytest.raises(MixtureError, match="on_missing is 'drop'"):
        recipes.resolve(dataclasses.replace(ALL, on_missing="drop"))
    with pytest.raises(MixtureError, match="Did you mean: bool_q"):
        recipes.resolve(dataclasses.replace(ALL, include=("boolq",)))
