"""Cache files: what is written comes back, padded or packed, in any order."""

import subprocess
import sys

import numpy as np
import pytest

from flan_tasks import cache_files, packing, sharded_output
from flan_tasks.cache_files import CachedExample, CachedRows, Shard
from flan_tasks.errors import StoreError

LENGTHS = {"inputs": 64, "targets": 24}
NUM_TOKENS = 32_100
SHARDS = 3


def random_examples(seed, count, num_tokens=NUM_TOKENS):
    rng = np.random.default_rng(seed)

    def tokens(side):
        return rng.integers(0, num_tokens, rng.integers(1, LENGTHS[side])).tolist()

    return [
        CachedExample(
            task=f"task_{rng.integers(3)}",
            index=int(rng.integers(2**40)),
            row=number,
            inputs=tokens("inputs"),
            targets=tokens("targets"),
            template=f"t/{rng.integers(4)}",
            style=["", "letters"][rng.integers(2)],
            exemplars=rng.integers(0, 100, rng.integers(5)).tolist(),
        )
        for number in range(count)
    ]


LEFT_OUT = [CachedExample("task_1", 7, 3), CachedExample("task_2", 2**41, 1)]


def packed_shard(seed, count=100):
    """A window's examples in the order of their rows, the segments, and what packing makes."""
    examples = random_examples(seed, count)
    texts = [[getattr(e, side) for e in examples] for side in packing.SIDES]
    packed = packing.pack(*texts, LENGTHS, seed)
    ordered = [examples[number] for row in packed.examples for number in row]
    segments = [number for row in packed.examples for number in range(1, len(row) + 1)]
    return ordered, segments, packed


def write_cache(folder, shards, *, rows):
    """A cache of some shards, each (examples, segments or None)."""

    def write(index, path):
        examples, segments = shards[index]
        blank = [0] * len(LEFT_OUT)
        padded = None if segments is None else segments + blank
        cache_files.write(path, examples + LEFT_OUT, padded, NUM_TOKENS)
        num_rows = len(examples) if segments is None else segments.count(1)
        return {"rows": num_rows, "examples": len(examples)}

    names = [f"{index}.arrow" for index in range(len(shards))]
    job = sharded_output.Job(str(folder), {"program": "cache", "rows": rows}, names)
    sharded_output.run(job, write)
    return CachedRows(str(folder))


@pytest.mark.parametrize("num_tokens", [NUM_TOKENS, 1 << 16, 250_000])
def test_a_shard_gives_every_example_back(tmp_path, num_tokens):
    examples = random_examples(0, 50, num_tokens) + LEFT_OUT
    cache_files.write(str(tmp_path / "shard"), examples, None, num_tokens)
    shard = Shard(str(tmp_path / "shard"))
    assert [shard.example(number) for number in range(52)] == [
        CachedExample(
            e.task,
            e.index,
            e.row,
            *map(list, (e.inputs, e.targets)),
            e.template,
            e.style,
            list(e.exemplars),
        )
        for e in examples
    ]
    assert [shard.example(number).is_left_out for number in (49, 50, 51)] == [False, True, True]
    assert shard.tokens["inputs"].itemsize == (2 if num_tokens <= 1 << 16 else 4)


def test_a_shard_without_examples_can_be_read(tmp_path):
    cache_files.write(str(tmp_path / "shard"), LEFT_OUT, None, NUM_TOKENS)
    assert Shard(str(tmp_path / "shard")).example(1) == CachedExample(
        "task_2", 2**41, 1, [], [], exemplars=[]
    )


def test_rows_are_read_across_shards_in_any_order(tmp_path):
    shards = [(random_examples(seed, 40), None) for seed in range(SHARDS)]
    whole = [example for examples, _ in shards for example in examples]
    rows = write_cache(tmp_path / "cache", shards, rows=110)
    assert rows.num_rows == 110
    for numbers in (np.arange(110), np.arange(1, 110, 7), np.array([109, 0, 41, 40, 39, 40])):
        block = rows.read(numbers)
        for side, length in LENGTHS.items():
            expected = np.zeros((len(numbers), length), np.int32)
            for row, number in zip(expected, numbers, strict=True):
                ids = getattr(whole[number], side)
                row[: len(ids)] = ids
            np.testing.assert_array_equal(block.padded(side, length), expected)
            assert block.padded(side, length).dtype == np.int32
            assert block.row_sizes(side).tolist() == [len(getattr(whole[n], side)) for n in numbers]


def test_packed_rows_are_those_of_packing(tmp_path):
    shards = [packed_shard(seed) for seed in range(SHARDS)]
    rows = write_cache(tmp_path / "cache", [shard[:2] for shard in shards], rows=9)
    expected = {
        name: np.concatenate([packed.columns[name] for _, _, packed in shards])
        for name in packing.ROW_FEATURES
    }
    total = len(expected["inputs"])
    for numbers in (np.arange(total), np.arange(2, total, 3), np.arange(total)[::-1]):
        block = rows.read(numbers)
        for side in packing.SIDES:
            names = [side + suffix for suffix in ("", *packing.SEGMENT_SUFFIXES)]
            for name, found in zip(names, block.packed(side, LENGTHS[side]), strict=True):
                assert found.dtype == np.int32
                np.testing.assert_array_equal(found, expected[name][numbers])


def test_a_damaged_shard_is_an_error_that_names_the_file(tmp_path):
    rows = write_cache(tmp_path / "cache", [(random_examples(s, 9), None) for s in (0, 1)], rows=18)
    path = tmp_path / "cache" / "1.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    rows.read(np.arange(9))
    with pytest.raises(StoreError, match=r"1\.arrow: its checksum"):
        rows.read(np.arange(8, 12))


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no finished output here\n.*Run"):
        CachedRows(str(tmp_path))
    job = sharded_output.Job(str(tmp_path / "text"), {"program": "export"}, ["a"])
    sharded_output.run(job, lambda index, path: open(path, "w").close() or {"rows": 0})
    with pytest.raises(StoreError, match="no training cache"):
        CachedRows(str(tmp_path / "text"))


def test_caches_are_written_and_read_without_tensorflow():
    program = (
        "import os, sys; os.environ['FLAN_TASKS_REGISTER'] = '0'; "
        "import flan_tasks.caching, flan_tasks.reuse; "
        "assert not {'tensorflow', 'seqio', 'jax'} & set(sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
