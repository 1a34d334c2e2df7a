"""Writing a training cache: the tokenized examples of a stream, in order, by many processes.

The stream's windows are cut into shards. How many are needed is known only when they are written,
for examples that are too long are left out; so after each round as many further ones are written as
are missing. Rows beyond those asked for stay in the last shard and do not count.
"""

import dataclasses
import functools
import glob
import hashlib
import math
import multiprocessing
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flan_tasks import cache_files, draws, packing, reuse, sharded_output, vocabulary
from flan_tasks.cache_files import CachedExample
from flan_tasks.errors import SourceError
from flan_tasks.packing import SIDES
from flan_tasks.prompts import PromptStream
from flan_tasks.reuse import Cache, Reusable
from flan_tasks.stream_spec import StreamSpec
from flan_tasks.variants import VariantPipeline

# A cache is cut into about so many shards, if they do not get too large for that.
_SHARDS = 64
_MOST_WINDOWS = 32
# The modules that decide which example stands where, and what its tokens are.
_CODE = (
    *("draws", "fewshot", "options", "packing", "prompts"),
    *("render", "spec", "stream", "variants"),
)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to cache.

    Attributes:
      spec: the stream; it has no end.
      num_rows: how many rows: examples, or packed rows of several.
      window: positions rendered at once, and packed together.
      packing_key: what the packing is drawn from; None: rows are not packed.
    """

    spec: StreamSpec
    num_rows: int
    window: int
    packing_key: int | None

    @property
    def windows_per_shard(self) -> int:
        """Whatever the number of processes, so that they all write the same."""
        windows = math.ceil(self.num_rows / self.window)
        return min(math.ceil(windows / _SHARDS), _MOST_WINDOWS)

    @property
    def fewest_shards(self) -> int:
        """Shards if every position gave a row."""
        return math.ceil(self.num_rows / (self.window * self.windows_per_shard))


@dataclasses.dataclass(frozen=True)
class Written:
    """What a run of `write` did.

    Attributes:
      metadata: see `sharded_output.run`.
      rendered: examples rendered, those left out included.
      reused: examples taken from other caches, those left out there included.
    """

    metadata: sharded_output.Record
    rendered: int
    reused: int


def describe(plan: Plan) -> dict[str, Any]:
    """Everything that a cache's bytes depend on, as JSON has it; the rows must be prepared."""
    spec = plan.spec
    of_stream = spec.description()
    cards = {name: dataset["card"] for name, dataset in of_stream["datasets"].items()}
    return {
        "program": cache_files.PROGRAM,
        "rows": plan.num_rows,
        "packed": plan.packing_key is not None,
        "window": plan.window,
        **of_stream,
        "vocabulary_fingerprint": vocabulary.tokenizer().fingerprint,
        "code": _code(),
        "tasks": {
            task.name: _fingerprint(task, spec, cards[task.dataset.name]) for task in spec.tasks
        },
    }


def write(plan: Plan, folder: str, *, caches: Sequence[Cache] = (), workers: int = 1) -> Written:
    """Writes a cache, or goes on with one.

    Args:
      plan: what to cache; its rows must be prepared.
      folder: local folder, there only when the cache is complete.
      caches: other caches, whose examples are copied where they are the same.
      workers: processes that write; 1: this one.

    Raises:
      FlanError: see `sharded_output.run`; or none of many examples could be kept.
    """
    description = describe(plan)
    job = sharded_output.Job(folder, description, _names(0, plan.fewest_shards))
    own = {job.unfinished.resolve(), pathlib.Path(folder).resolve()}
    others = [cache for cache in caches if pathlib.Path(cache.folder).resolve() not in own]
    table = job.unfinished.with_name(f".{job.unfinished.name}.reuse.npy")
    counts = multiprocessing.get_context("spawn").Array("q", 2)
    metadata = sharded_output.run(
        job,
        WriteShard(plan, reuse.gather(others, description, table) if others else None, counts),
        workers=workers,
        further=functools.partial(_further, plan),
    )
    for path in table.parent.glob(f"{glob.escape(table.name)}*"):
        path.unlink(missing_ok=True)
    return Written(metadata, rendered=counts[0], reused=counts[1])


@dataclasses.dataclass(frozen=True)
class WriteShard:
    """Writes a shard: a number of windows.

    Attributes:
      plan: what to cache.
      reusable: examples that need not be rendered.
      counts: shared by all processes: examples rendered, and reused.
    """

    plan: Plan
    reusable: Reusable | None
    counts: Any

    @functools.cached_property
    def _stream(self) -> PromptStream:
        return self.plan.spec.open(prepare_missing=False)

    def __call__(self, index: int, path: str) -> dict[str, Any]:
        """Writes shard `index` to the file `path`; returns its counts."""
        kept: list[CachedExample] = []
        left_out: list[CachedExample] = []
        segments: list[int] = []
        first = index * self.plan.windows_per_shard
        for window in range(first, first + self.plan.windows_per_shard):
            examples = self._examples(window)
            left_out += [example for example in examples if example.is_left_out]
            examples = [example for example in examples if not example.is_left_out]
            if self.plan.packing_key is not None:
                rows = self._arranged(window, examples)
                segments += [number for row in rows for number in range(1, len(row) + 1)]
                examples = [examples[number] for row in rows for number in row]
            kept += examples
        packed = self.plan.packing_key is not None
        cache_files.write(
            path,
            kept + left_out,
            segments + [0] * len(left_out) if packed else None,
            vocabulary.tokenizer().num_tokens,
        )
        return {
            "rows": segments.count(1) if packed else len(kept),
            "examples": len(kept),
            "left_out": len(left_out),
            **{f"{side}_tokens": sum(len(getattr(e, side)) for e in kept) for side in SIDES},
        }

    def _examples(self, window: int) -> list[CachedExample]:
        """The examples of a window, in order, those left out among them."""
        positions = window * self.plan.window + np.arange(self.plan.window)
        tasks, rows, index = self._stream.locate(positions)
        places = self.reusable.find(tasks, index) if self.reusable else np.full(len(tasks), -1)
        rendered = iter(self._stream.examples(positions[places < 0]))
        names = [self.plan.spec.tasks[task].name for task in tasks.tolist()]
        found = zip(names, index.tolist(), rows.tolist(), places.tolist(), strict=True)
        examples = []
        for *identity, place in found:
            if self.reusable and place >= 0:
                examples.append(self.reusable.example(place))
            else:
                example = next(rendered)
                examples.append(CachedExample.of(example) if example else CachedExample(*identity))
        self._count(int((places < 0).sum()), int((places >= 0).sum()))
        return examples

    def _arranged(self, window: int, examples: Sequence[CachedExample]) -> list[list[int]]:
        """The examples of each packed row; see `packed.window_of`."""
        lengths = dataclasses.asdict(self.plan.spec.lengths)
        sizes = {
            side: np.fromiter((len(getattr(e, side)) for e in examples), np.int64) for side in SIDES
        }
        return packing.arrange(sizes, lengths, int(draws.hash64(self.plan.packing_key, window)))

    def _count(self, rendered: int, reused: int) -> None:
        with self.counts.get_lock():
            self.counts[0] += rendered
            self.counts[1] += reused


def _further(plan: Plan, records: Sequence[sharded_output.Record]) -> list[str]:
    """The names of the shards still to write: enough, if they are like those there."""
    made = sum(record["rows"] for record in records)
    if made >= plan.num_rows:
        return []
    if not made:
        raise SourceError(
            f"none of the first {len(records) * plan.windows_per_shard * plan.window} examples "
            f"could be kept ({plan.spec.lengths})",
            where=plan.spec.name,
            remedy="Raise the lengths, or look at the rows.",
        )
    return _names(len(records), math.ceil((plan.num_rows - made) * len(records) / made))


def _names(first: int, count: int) -> list[str]:
    return [f"{number:05d}.arrow" for number in range(first, first + count)]


def _fingerprint(task: VariantPipeline, spec: StreamSpec, card: str) -> str:
    """The same for the same card and rows."""
    rows_of = spec.rows_of(task)
    parts = (card, rows_of.queries.fingerprint, rows_of.shots.fingerprint)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _code() -> str:
    """Checksum of the code that examples depend on."""
    folder = pathlib.Path(__file__).parent
    return hashlib.sha256(
        b"".join((folder / f"{name}.py").read_bytes() for name in _CODE)
    ).hexdigest()[:16]
