"""Rates are caps, weights and shares, flattened."""

import dataclasses
import math
import random

import pytest

from flan_tasks import rates
from flan_tasks.errors import MixtureError
from flan_tasks.rates import Balance
from flan_tasks.recipes import CAPS, FLAN2022_SHARES, INVERSION_WEIGHTS
from flan_tasks.spec import Answer, Dataset, Source, Template

TEMPLATE = Template("0", "{q}", "{answer}")
RELEASED = Balance(FLAN2022_SHARES, CAPS, inversion_weights=INVERSION_WEIGHTS)


def dataset(name, collection, num_train, inverted=False, kind="question answering"):
    return Dataset(
        *(name, name, collection, kind, "", "", "", Source(), {"train": "train"}),
        *({"train": num_train}, Answer(text="a"), (), (TEMPLATE,)),
        inverted=(TEMPLATE,) if inverted else (),
    )


def flat(datasets, balance=RELEASED):
    return {leaf.task: leaf.rate for leaf in rates.leaves(datasets, balance)}


def total(found, prefix="", suffix=""):
    return sum(
        rate for task, rate in found.items() if task.startswith(prefix) and task.endswith(suffix)
    )


def some_datasets(seed):
    """Datasets of all collections, with and without inversion, small and large."""
    generator = random.Random(seed)
    sizes = [1, 7, 300, 4_999, 5_001, 90_000, 10**7]
    return [
        dataset(f"d{n}", collection, generator.choice(sizes), inverted=generator.random() < 0.5)
        for n, collection in enumerate(generator.choices(sorted(FLAN2022_SHARES), k=30))
    ]


def some_balance(seed):
    generator = random.Random(seed)
    return Balance(
        {name: generator.random() + 0.01 for name in FLAN2022_SHARES},
        {name: generator.choice([10, 1_000, 10**6]) for name in FLAN2022_SHARES},
        {name: generator.random() + 0.01 for name in ("zs_opt", "fs_opt", "fs_noopt")},
        generator.choice([None, 0.0, 0.3, 1.0]),
        {name: generator.random() for name in ("cot", "dialog", "flan2021")},
        generator.choice([1.0, 2.0, math.inf]),
    )


def test_shares_hold_and_settings_weigh_the_same():
    found = flat(
        [dataset("a", "flan2021", 1000), dataset("b", "flan2021", 3000), dataset("c", "cot", 10)]
    )
    assert total(found) == pytest.approx(1)
    assert total(found, "c_") == pytest.approx(0.05 / 0.45)
    assert found["b_zs_opt"] == pytest.approx(3 * found["a_zs_opt"])
    assert found["a_zs_opt"] == pytest.approx(found["a_fs_noopt"])
    assert len(found) == 4 + 4 + 2


def test_the_cap_counts_per_task():
    found = flat([dataset("big", "niv2", 10**6), dataset("small", "niv2", 2500)])
    assert found["big_zs_opt"] == pytest.approx(2 * found["small_zs_opt"])


def test_inverted_tasks_weigh_less_in_the_collections_that_say_so():
    found = flat([dataset("a", "cot", 100, inverted=True)])
    assert found["a_inverted_zs_opt"] == pytest.approx(0.3 * found["a_zs_opt"])
    assert total(found, suffix="zs_opt") == pytest.approx(0.5)


def test_a_weight_of_zero_leaves_a_setting_out():
    balance = dataclasses.replace(RELEASED, setting_weights={"fs_opt": 0, "fs_noopt": 0})
    assert set(flat([dataset("a", "flan2021", 5)], balance)) == {"a_zs_opt", "a_zs_noopt"}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_few_shot_prompts_holds_in_every_group(share):
    datasets = [dataset("a", "flan2021", 5), dataset("b", "cot", 9, inverted=True)]
    found = flat(datasets, dataclasses.replace(RELEASED, few_shot_share=share))
    for name in ("a", "b"):
        few = sum(rate for task, rate in found.items() if task[0] == name and "_fs_" in task)
        assert few == pytest.approx(share * total(found, name))
    if 0 < share < 1:
        assert found["a_zs_opt"] == pytest.approx(found["a_zs_noopt"])


def test_temperature_makes_small_tasks_count_more_and_infinity_makes_all_alike():
    datasets = [dataset("a", "niv2", 100), dataset("b", "niv2", 2500)]
    by_temperature = {}
    for temperature in (1.0, 2.0, math.inf):
        found = flat(datasets, dataclasses.replace(RELEASED, temperature=temperature))
        by_temperature[temperature] = found["b_zs_opt"] / found["a_zs_opt"]
    assert by_temperature == pytest.approx({1.0: 25, 2.0: 5, math.inf: 1})


def test_groups_may_be_of_any_kind_and_the_first_one_met_counts():
    datasets = [
        dataset("a", "cot", 10, kind="translation"),
        dataset("b", "flan2021", 10, kind="translation"),
        dataset("c", "niv2", 10, kind="summarization"),
        dataset("d", "niv2", 10, kind="dialogue summarization"),
        dataset("e", "niv2", 10, kind="tagging"),
    ]
    shares = {"collection:cot": 1, "kind:translation": 2, "kind:summarization, kind:dialog*": 5}
    found = flat(datasets, Balance(shares))
    assert [total(found, name) for name in "abcd"] == pytest.approx(
        [1 / 8, 2 / 8, 2.5 / 8, 2.5 / 8]
    )
    assert total(found, "e") == 0
    assert {leaf.group for leaf in rates.leaves(datasets, Balance(shares))} == set(shares)


def test_without_shares_all_is_one_group():
    found = flat([dataset("a", "niv2", 10), dataset("b", "cot", 30)], Balance({}))
    assert found["b_zs_opt"] == pytest.approx(3 * found["a_zs_opt"])


def test_a_leaf_tells_what_its_rate_is_made_of():
    leaves = rates.leaves([dataset("a", "niv2", 7_000)], RELEASED)
    assert [(leaf.num_examples, leaf.cap, leaf.group) for leaf in leaves] == [
        (7000, 5000, "niv2")
    ] * 2


def test_the_cases_of_the_release_count_by_setting():
    news = dataset("multi_news", "flan2021", 44_972)
    assert [
        rates.num_cases(news, each) for each in ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt")
    ] == [*((44960,), (44960,), (3118, 1927), (3118,))]
    assert rates.num_cases(dataset("mine", "flan2021", 12), "fs_opt") == (12,)


# What holds whatever the datasets and the balance


@pytest.mark.parametrize("seed", range(20))
def test_rates_sum_to_one_and_groups_get_their_shares(seed):
    datasets, balance = some_datasets(seed), some_balance(seed)
    found = flat(datasets, balance)
    assert math.fsum(found.values()) == pytest.approx(1, abs=1e-12)
    assert min(found.values()) > 0
    of_collection = {each.name: each.collection for each in datasets}
    sums = {}
    for task, rate in found.items():
        collection = of_collection[task.split("_")[0]]
        sums[collection] = sums.get(collection, 0) + rate
    present = sum(balance.shares[name] for name in sums)
    assert sums == pytest.approx({name: balance.shares[name] / present for name in sums})


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_datasets_and_shares_does_not_matter(seed):
    datasets, balance = some_datasets(seed), some_balance(seed)
    turned = dataclasses.replace(balance, shares=dict(reversed(balance.shares.items())))
    assert flat(datasets[::-1], turned) == pytest.approx(flat(datasets, balance))


@pytest.mark.parametrize("seed", range(20))
def test_no_task_counts_with_more_than_its_cap(seed):
    """Within a setting of a group two tasks at or over their cap weigh the same."""
    datasets, balance = some_datasets(seed), some_balance(seed)
    leaves = rates.leaves(datasets, balance)
    capped = {}
    for leaf in leaves:
        assert leaf.cap == balance.caps[leaf.dataset.collection]
        if leaf.num_examples >= leaf.cap:
            key = (leaf.group, leaf.variant)
            assert capped.setdefault(key, leaf.rate) == pytest.approx(leaf.rate)
        for other in leaves:
            if (other.group, other.variant) == (leaf.group, leaf.variant):
                assert (leaf.num_examples <= other.num_examples) <= (
                    leaf.rate <= other.rate * 1.0001
                )


@pytest.mark.parametrize("seed", range(20))
def test_without_a_dataset_the_others_are_rescaled(seed):
    datasets, balance = some_datasets(seed), some_balance(seed)
    gone = datasets[seed]
    before, after = flat(datasets, balance), flat([d for d in datasets if d != gone], balance)
    assert {name for name in before if not name.startswith(f"{gone.name}_")} == set(after)
    leaves = {leaf.task: leaf for leaf in rates.leaves(datasets, balance)}
    factors = {}
    for task, rate in after.items():
        group, setting = leaves[task].group, leaves[task].variant.setting
        key = (group, setting) if group == gone.collection else group
        assert factors.setdefault(key, rate / before[task]) == pytest.approx(rate / before[task])


# Faults


def test_nothing_to_mix_is_an_error_that_names_the_shares():
    balance = dataclasses.replace(RELEASED, shares={"t0": 1.0})
    with pytest.raises(MixtureError, match="t0"):
        flat([dataset("a", "flan2021", 5)], balance)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shares": {"flan2021": -1}}, r"shares\['flan2021'\] is -1, below 0"),
        ({"caps": {"flan2021": 0}}, r"caps\['flan2021'\] is 0, below 1"),
        ({"caps": {"flan_2021": 5}}, "caps names 'flan_2021'; there are flan2021"),
        ({"setting_weights": {"zs": 1}}, "setting_weights names 'zs'"),
        (
            {"setting_weights": dict.fromkeys(("zs_opt", "zs_noopt", "fs_opt", "fs_noopt"), 0)},
            "all",
        ),
        ({"few_shot_share": 1.5}, "few_shot_share is 1.5"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_a_number_out_of_its_range_is_named(changes, says):
    with pytest.raises(MixtureError, match=says):
        flat([dataset("a", "flan2021", 5)], dataclasses.replace(RELEASED, **changes))
