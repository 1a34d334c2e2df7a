"""Packed rows: every example once, nothing cut or mixed up, little padding."""

import subprocess
import sys

import numpy as np
import pytest

from flan_tasks import packing

LENGTHS = {"inputs": 64, "targets": 24}
EIGHT = {"inputs": 8, "targets": 8}


def random_window(seed, count=200, lengths=LENGTHS):
    """Token lists of any length that fits, empty ones and ids that look like padding included."""
    rng = np.random.default_rng(seed)

    def tokens(longest):
        sizes = np.minimum(rng.geometric(4 / longest, count) - 1, longest)
        return [rng.integers(0, 100, size).tolist() for size in sizes]

    return tokens(lengths["inputs"]), tokens(lengths["targets"])


def mixed_lengths(seed, count):
    """Sizes of prompts, half of them few-shot: inputs up to 2048 tokens, mostly short targets."""
    rng = np.random.default_rng(seed)
    few_shot = rng.random(count) < 0.5
    inputs = rng.lognormal(np.where(few_shot, np.log(650), np.log(120)), 0.7)
    targets = rng.lognormal(np.log(12), 1.3, count)
    return np.clip(inputs, 20, 2048).astype(int), np.clip(targets, 1, 512).astype(int)


def unpacked(packed, side, row, segment):
    of_segment = packed.columns[f"{side}_segment_ids"][row] == segment
    positions = packed.columns[f"{side}_positions"][row][of_segment]
    assert positions.tolist() == list(range(len(positions)))
    return packed.columns[side][row][of_segment].tolist()


@pytest.mark.parametrize("seed", range(10))
def test_every_example_stands_once_and_whole_in_the_rows(seed):
    inputs, targets = random_window(seed)
    packed = packing.pack(inputs, targets, LENGTHS, seed)
    assert sorted(np.concatenate(packed.examples)) == list(range(len(inputs)))
    for row, examples in enumerate(packed.examples):
        for segment, example in enumerate(examples, start=1):
            assert unpacked(packed, "inputs", row, segment) == inputs[example]
            assert unpacked(packed, "targets", row, segment) == targets[example]


@pytest.mark.parametrize("side", packing.SIDES)
def test_segments_come_in_order_and_only_padding_follows(side):
    packed = packing.pack(*random_window(3), LENGTHS, 0)
    for name in (side, f"{side}_segment_ids", f"{side}_positions"):
        assert packed.columns[name].dtype == np.int32
        assert packed.columns[name].shape == (len(packed), LENGTHS[side])
    for row in range(len(packed)):
        segment_ids = packed.columns[f"{side}_segment_ids"][row]
        used = np.count_nonzero(segment_ids)
        assert (np.diff(segment_ids[:used]) >= 0).all()
        for column in (side, f"{side}_segment_ids", f"{side}_positions"):
            assert not packed.columns[column][row, used:].any()


def test_features_of_a_row_in_full():
    packed = packing.pack([[7, 8, 5, 1], [8, 4, 1]], [[3, 1], [4, 9, 1]], EIGHT, 0)
    [order] = packed.examples
    assert order == [0, 1]  # largest first
    assert {name: column[0].tolist() for name, column in packed.columns.items()} == {
        "inputs": [7, 8, 5, 1, 8, 4, 1, 0],
        "inputs_segment_ids": [1, 1, 1, 1, 2, 2, 2, 0],
        "inputs_positions": [0, 1, 2, 3, 0, 1, 2, 0],
        "targets": [3, 1, 4, 9, 1, 0, 0, 0],
        "targets_segment_ids": [1, 1, 2, 2, 2, 0, 0, 0],
        "targets_positions": [0, 1, 0, 1, 2, 0, 0, 0],
    }


def test_an_example_needs_room_on_both_sides():
    inputs, targets = [[1] * 10] * 4, [[1] * 20] * 4  # the decoder has room for one of them
    assert [len(row) for row in packing.pack(inputs, targets, LENGTHS, 0).examples] == [1] * 4
    assert len(packing.pack(inputs, [[1] * 6] * 4, LENGTHS, 0)) == 1


def test_known_rows_never_change():
    # A change here would change the packed rows, and the places to resume at, of every run.
    packed = packing.pack([[1] * (2 + i % 5) for i in range(9)], [[1]] * 9, EIGHT, 42)
    assert packed.examples == [[3, 6], [4, 5], [7, 2], [0], [8, 1]]


def test_same_key_same_rows_in_another_process():
    window = [[5] * (1 + i % 7) for i in range(90)], [[6]] * 90
    program = (
        f"from flan_tasks import packing; print(packing.pack(*{window}, {EIGHT}, 42).examples)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True
    )
    assert run.stdout.strip() == str(packing.pack(*window, EIGHT, 42).examples)


def test_a_key_draws_the_order_and_not_the_density():
    window = random_window(5)
    first, again, other = (packing.pack(*window, LENGTHS, key) for key in (1, 1, 2))
    assert first.examples == again.examples
    assert all((first.columns[name] == again.columns[name]).all() for name in first.columns)
    assert first.examples != other.examples
    assert len(first) == pytest.approx(len(other), rel=0.05)


def test_equal_examples_are_shuffled():
    packed = packing.pack([[1] * 16] * 100, [[1]] * 100, LENGTHS, 0)
    assert [len(row) for row in packed.examples] == [4] * 25
    steps = np.diff(np.concatenate(packed.examples))
    assert len(np.unique(steps)) > 20


def test_long_and_short_rows_are_not_sorted():
    inputs, targets = random_window(7, count=1000)
    packed = packing.pack(inputs, targets, LENGTHS, 0)
    longest = [max(len(inputs[example]) for example in row) for row in packed.examples]
    correlation = np.corrcoef(longest, np.arange(len(longest)))[0, 1]
    assert abs(correlation) < 4 / np.sqrt(len(longest))


def test_one_example():
    packed = packing.pack([[4, 1]], [[5, 6, 1]], LENGTHS, 0)
    assert packed.examples == [[0]]
    assert packed.columns["targets"][0, :4].tolist() == [5, 6, 1, 0]


def test_examples_as_long_as_a_row():
    lengths = {"inputs": 5, "targets": 3}
    packed = packing.pack([[2] * 5] * 3, [[3] * 3] * 3, lengths, 0)
    assert len(packed) == 3
    assert packing.density(packed.columns) == {"inputs": 1.0, "targets": 1.0}


def test_empty_window():
    packed = packing.pack([], [], LENGTHS, 0)
    assert len(packed) == 0
    assert packed.columns["inputs_positions"].shape == (0, 64)


@pytest.mark.parametrize("side", packing.SIDES)
def test_an_example_longer_than_a_row_is_an_error(side):
    window = {"inputs": [[1], [1], [1]], "targets": [[1], [1], [1]]}
    window[side][2] = [1] * (LENGTHS[side] + 1)
    message = f"example 2 .*: {LENGTHS[side] + 1} tokens of {side} do not fit a row of"
    with pytest.raises(packing.PackingError, match=message):
        packing.pack(**window, lengths=LENGTHS, key=0)


def test_density_counts_what_is_not_padding():
    packed = packing.pack([[1] * 16, [1] * 16], [[1] * 24, [1] * 12], LENGTHS, 0)
    assert packing.density(packed.columns) == {"inputs": 0.25, "targets": 0.75}


def test_rows_of_mixed_lengths_are_nearly_full():
    lengths = {"inputs": 2048, "targets": 512}
    rows = used = 0
    for window in range(4):  # of which the last rows count, too
        inputs, targets = mixed_lengths(window, 1024)
        packed = packing.pack(
            [[1] * size for size in inputs], [[1] * size for size in targets], lengths, window
        )
        rows += len(packed)
        used += int(inputs.sum())
    assert used / (rows * lengths["inputs"]) > 0.97


def test_rows_are_dense_too_where_examples_compete_for_both_sides():
    drawn = np.random.default_rng(5)
    reading, writing = drawn.integers(50, 700, 1000), drawn.integers(10, 170, 1000)
    columns = packing.pack(
        [[1] * size for size in reading],
        [[1] * size for size in writing],
        {"inputs": 2048, "targets": 512},
        key=3,
    ).columns
    found = packing.density(columns)
    assert found["inputs"] >= 0.97 and found["targets"] >= 0.94
