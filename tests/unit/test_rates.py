"""Rates are caps, weights and shares, flattened."""

import dataclasses

import pytest

from flan_tasks import rates
from flan_tasks.errors import MixtureError
from flan_tasks.spec import Answer, Dataset, Source, Template

TEMPLATE = Template("0", "{q}", "{answer}")


def dataset(name, collection, num_train, inverted=False):
    return Dataset(
        *(name, name, collection, "kind", "", "", "", Source(), {"train": "train"}),
        *({"train": num_train}, Answer(text="a"), (), (TEMPLATE,)),
        inverted=(TEMPLATE,) if inverted else (),
    )


RELEASED = rates.Balance(rates.FLAN2022_SHARES, rates.CAPS, {}, rates.INVERSION_WEIGHTS)


def by_collection(flat, prefix):
    return sum(rate for task, rate in flat.items() if task.startswith(prefix))


def test_shares_hold_and_settings_weigh_the_same():
    flat = rates.flat_rates(
        [dataset("a", "flan2021", 1000), dataset("b", "flan2021", 3000), dataset("c", "cot", 10)],
        RELEASED,
    )
    assert sum(flat.values()) == pytest.approx(1)
    assert by_collection(flat, "c_") == pytest.approx(0.05 / 0.45)
    assert flat["b_zs_opt"] == pytest.approx(3 * flat["a_zs_opt"])
    assert flat["a_zs_opt"] == flat["a_fs_noopt"]
    assert len(flat) == 4 + 4 + 2


def test_the_cap_counts_per_task():
    flat = rates.flat_rates(
        [dataset("big", "niv2", 10**6), dataset("small", "niv2", 2500)], RELEASED
    )
    assert flat["big_zs_opt"] == pytest.approx(2 * flat["small_zs_opt"])


def test_inverted_tasks_weigh_less_in_the_collections_that_say_so():
    flat = rates.flat_rates([dataset("a", "cot", 100, inverted=True)], RELEASED)
    assert flat["a_inverted_zs_opt"] == pytest.approx(0.3 * flat["a_zs_opt"])


def test_a_weight_of_zero_leaves_a_setting_out():
    balance = dataclasses.replace(RELEASED, setting_weights={"fs_opt": 0, "fs_noopt": 0})
    flat = rates.flat_rates([dataset("a", "flan2021", 5)], balance)
    assert set(flat) == {"a_zs_opt", "a_zs_noopt"}


def test_nothing_to_mix_is_an_error_that_names_the_shares():
    balance = dataclasses.replace(RELEASED, shares={"t0": 1.0})
    with pytest.raises(MixtureError, match="t0"):
        rates.flat_rates([dataset("a", "flan2021", 5)], balance)
