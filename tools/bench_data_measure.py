"""One measurement of tools/bench_data.py, in a process of its own: peak memory is then its own too.

What to measure comes as JSON from standard input; what was found goes as the last line, JSON too,
to standard output. Whatever is imported is imported on the cores that are measured on, for
TensorFlow counts them when it is.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def main() -> None:
    """Measures what standard input asks for."""
    asked = json.load(sys.stdin)
    os.sched_setaffinity(0, asked.pop("cores"))
    measure = _MEASURES[asked.pop("measure")]
    found = measure(**asked)
    # Linux counts in KiB.
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(found))


def prepare(folder: str, num_small: int, data: str, num_rows: int) -> dict[str, Any]:
    """Writes the corpus, of a file or made up, and prepares it."""
    import bench_data_corpus

    from flan_tasks import sources, store

    problems = bench_data_corpus.read(data) if data else bench_data_corpus.make_up(num_rows)
    corpus = bench_data_corpus.Corpus(folder, num_small)
    bench_data_corpus.write(corpus, problems)
    datasets = [corpus.dataset, corpus.short_answers, *corpus.small_datasets(num_small)]
    start, start_cpu = time.perf_counter(), time.process_time()
    for dataset in datasets:
        store.prepare(dataset, sources.settings())
    return {
        "num_problems": len(problems),
        "num_datasets": len(datasets),
        "wall_seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
    }


def registration(folder: str, num_small: int, num_tasks: int) -> dict[str, Any]:
    """The seconds that importing and registering take beyond importing seqio."""
    import seqio

    start, start_cpu = time.perf_counter(), time.process_time()
    import flan_tasks  # noqa: F401  registers its tasks

    wall, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    import bench_data_corpus

    from flan_tasks import mixtures, tasks

    # What is registered for a test is made outside of what is timed.
    datasets = bench_data_corpus.Corpus(folder, num_small).small_datasets(num_tasks // 2)
    rates = [
        (f"{each.name}_{variant}", 1.0) for each in datasets for variant in ("zs_opt", "fs_opt")
    ]
    start, start_cpu = time.perf_counter(), time.process_time()
    tasks.register(datasets)
    seqio.MixtureRegistry.add("bench", rates, mixture_cls=mixtures.PromptMixture)
    return {
        "import_wall_seconds": wall,
        "import_cpu_seconds": cpu,
        "wall_seconds": wall + time.perf_counter() - start,
        "cpu_seconds": cpu + time.process_time() - start_cpu,
    }


def rate(
    folder: str, num_small: int, stream: str, seconds: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The rate of one of the streams of `bench_data_streams`."""
    import bench_data_corpus
    import bench_data_streams

    corpus = bench_data_corpus.Corpus(folder, num_small)
    batches = getattr(bench_data_streams, stream)(corpus, **arguments)
    return bench_data_streams.timed(batches, seconds)


def density(
    folder: str, num_small: int, prompts: list[str], lengths: list[dict[str, int]]
) -> dict[str, Any]:
    """How full packed rows are, for each kind of prompts and lengths of rows."""
    import bench_data_corpus
    import bench_data_streams

    corpus = bench_data_corpus.Corpus(folder, num_small)
    return {
        f"{kind}, {'/'.join(map(str, each.values()))}": bench_data_streams.densities(
            corpus, kind, each
        )
        for kind in prompts
        for each in lengths
    }


_MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "prepare": prepare,
    "registration": registration,
    "rate": rate,
    "density": density,
}

if __name__ == "__main__":
    main()
