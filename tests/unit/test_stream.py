"""The stream of a mixture: exact rates, every row once an epoch, any shard from anywhere."""

import numpy as np
import pytest

from flan_tasks import stream


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(stream, "_BLOCK", 64)
    monkeypatch.setattr(stream, "_WINDOW", 16)


def by_rate(num_rows, rates, **order):
    return stream.ByRate(num_rows, rates, range(len(rates)), **order)


def locate(order, count):
    return order.locate(np.arange(count))


def test_one_task_in_order():
    found = locate(stream.EveryRow([3], seed=0, shuffle=False), 7)
    assert found.row.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert found.epoch.tolist() == [0, 0, 0, 1, 1, 1, 2]


def test_every_row_comes_once_an_epoch_in_an_order_of_its_own():
    order = stream.EveryRow([3, 5, 2], seed=4, shuffle=True)
    found = locate(order, 20)
    orders = []
    for epoch in (0, 1):
        here = found.epoch == epoch
        orders.append(list(zip(found.task[here], found.row[here], strict=True)))
        assert len(set(orders[-1])) == 10
    assert orders[0] != orders[1]


def test_rates_hold_in_every_block(small_blocks):
    order = by_rate([10, 10, 10], [1, 2, 5], seed=0, shuffle=True)
    found = locate(order, 64 * 5)
    for block in range(5):
        counts = np.bincount(found.task[block * 64 : (block + 1) * 64])
        assert counts.tolist() == [8, 16, 40]


def test_draws_follow_the_rates():
    rates = np.array([0.5, 0.3, 0.15, 0.05])
    found = locate(by_rate([1000] * 4, rates, seed=9, shuffle=True), 20_000)
    expected = rates * 20_000
    chi_squared = ((np.bincount(found.task) - expected) ** 2 / expected).sum()
    assert chi_squared < 16.3  # 0.999 quantile with 3 degrees of freedom


def test_any_stretch_holds_the_rates_nearly():
    order = by_rate([1000] * 3, [1, 3, 6], seed=1, shuffle=True)
    found = order.locate(np.arange(500_000, 500_000 + 4096))
    assert np.abs(np.bincount(found.task) - 4096 * np.array([0.1, 0.3, 0.6])).max() < 8


def test_the_order_of_tasks_is_no_pattern():
    found = locate(by_rate([1000] * 2, [1, 1], seed=1, shuffle=True), 4096)
    same_as_before = (found.task[1:] == found.task[:-1]).mean()
    assert 0.4 < same_as_before < 0.6


def test_floor_sum_is_the_sum():
    rng = np.random.default_rng(0)
    for _ in range(200):
        modulus, slope = (int(x) for x in rng.integers(1, 100, 2))
        count, offset = rng.integers(0, 60, 5), rng.integers(0, 300, 5)
        expected = [
            sum((slope * i + b) // modulus for i in range(n))
            for n, b in zip(count, offset, strict=True)
        ]
        assert stream.floor_sum(count, modulus, slope, offset).tolist() == expected


def test_turns_come_in_order_but_for_the_shuffling_among_neighbours():
    found = locate(by_rate([10**6, 10**6], [1, 9], seed=0, shuffle=False), 50 * 1024)
    for task in (0, 1):
        rows = found.row[found.task == task]
        assert sorted(rows) == list(range(len(rows)))
        assert np.abs(rows - np.arange(len(rows))).max() < 1024


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_mixed_task_goes_through_all_rows_before_it_repeats_one(small_blocks, shuffle):
    order = by_rate([7, 100], [1, 3], seed=2, shuffle=shuffle)
    found = locate(order, 64 * 50)
    for task, num_rows in enumerate([7, 100]):
        here = found.task == task
        whole_epochs = here.sum() // num_rows - 1
        for epoch in range(min(3, whole_epochs)):
            rows = found.row[here & (found.epoch == epoch)]
            assert sorted(rows) == list(range(num_rows))


@pytest.mark.parametrize("num_shards", [1, 2, 3, 8])
def test_shards_taken_in_turn_are_the_whole(num_shards):
    order = by_rate([5, 50], [1, 1], seed=0, shuffle=True)
    whole = locate(order, 240)
    for shard in range(num_shards):
        part = order.locate(np.arange(shard, 240, num_shards))
        assert (part.row == whole.row[shard::num_shards]).all()
        assert (part.task == whole.task[shard::num_shards]).all()


def test_another_seed_is_another_order():
    first, second = (
        locate(by_rate([50, 50], [1, 1], seed=seed, shuffle=True), 100) for seed in (0, 1)
    )
    assert (first.row != second.row).any()


def test_apportion_sums_up_and_leaves_nobody_out():
    seats = stream.apportion([1e-12, 1.0, 1.0, 1e-9], 1000)
    assert seats.sum() == 1000
    assert seats.min() == 1
    assert abs(seats[1] - seats[2]) <= 1


def test_start_does_not_grow_with_the_number_of_tasks():
    order = by_rate([100] * 3000, [1.0] * 3000, seed=0, shuffle=True)
    found = locate(order, 1000)
    assert len(np.unique(found.task)) > 500


def test_a_tasks_rows_come_in_the_same_order_in_every_mixture():
    alone = stream.ByRate([50], [1], [7], seed=3, shuffle=True)
    mixed = stream.ByRate([20, 50], [1, 4], [8, 7], seed=3, shuffle=True)
    found = locate(mixed, 2000)
    assert first_turns(alone, 0, 100) == first_turns(mixed, 1, 100)
    assert found.task.any()


def first_turns(order, task, count):
    """Rows of a task by turn: positions are shuffled among neighbours, turns are not."""
    found = locate(order, 4096)
    turns = found.epoch * order._num_rows[found.task] + found.row
    return sorted(turns[found.task == task].tolist())[:count]
