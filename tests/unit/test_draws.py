"""Draws are functions of their keys, uniform, and permutations are permutations."""

import subprocess
import sys

import numpy as np
import pytest

from flan_tasks import draws


def test_known_values_never_change():
    # A change here would change every prompt of every run that names a seed.
    assert draws.hash64(0).item() == 16294208416658607535
    assert draws.hash64(1, 2).item() == 13608149317741381227
    assert draws.name_key("bool_q_zs_opt") == 16616229182281887679
    assert draws.permute(np.arange(6), 6, 1).tolist() == [3, 0, 4, 1, 5, 2]


def test_same_draws_in_another_process():
    program = "from flan_tasks import draws; print(draws.below(1000, 7, draws.name_key('a'), 3))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert int(run.stdout) == draws.below(1000, 7, draws.name_key("a"), 3)


def test_order_of_keys_matters():
    assert draws.hash64(1, 2) != draws.hash64(2, 1)


def test_keys_broadcast_like_arrays():
    grid = draws.hash64(np.arange(3)[:, None], np.arange(4)[None, :])
    assert grid.shape == (3, 4)
    assert grid[2, 1] == draws.hash64(2, 1)
    assert len(np.unique(grid)) == 12


def test_below_is_uniform():
    counts = np.bincount(draws.below(10, 5, np.arange(100_000)), minlength=10)
    chi_squared = ((counts - 10_000) ** 2 / 10_000).sum()
    assert chi_squared < 27.9  # 0.999 quantile with 9 degrees of freedom


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 1000])
def test_permute_reaches_every_place_once(size):
    places = draws.permute(np.arange(size), size, 11)
    assert sorted(places) == list(range(size))


def test_permutations_differ_by_key_and_mix_well():
    first, second = (draws.permute(np.arange(1000), 1000, key) for key in (1, 2))
    assert (first != second).any()
    fixed_points = (first == np.arange(1000)).sum()
    assert fixed_points < 10  # 1 expected of a random permutation
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.15


def test_permute_takes_a_size_for_each_element():
    sizes = np.array([1, 7, 1000, 10**9])
    places = draws.permute(np.array([0, 6, 999, 10**9 - 1]), sizes, 3)
    assert (places < sizes).all()
    assert (places >= 0).all()
