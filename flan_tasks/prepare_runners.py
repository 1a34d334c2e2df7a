"""Prepares many splits at once, in several processes or on Apache Beam.

The work is cut into pieces, each some consecutive shards of a split. Whoever makes them, the bytes
are the same, and so is the end: `store.open_split` finds the shards made and puts the split in
place. What a piece fails at, a faulty row say, fails there once more and is reported there; hence
one dataset at fault does not stop the others.
"""

import concurrent.futures
import dataclasses
import multiprocessing
from collections.abc import Iterable, Sequence

import tqdm
from absl import logging

from flan_tasks import preparing, store, workers
from flan_tasks.errors import FlanError, StoreError
from flan_tasks.preparing import Job
from flan_tasks.sources import Settings
from flan_tasks.spec import Dataset

# A piece has to read its way to its first row, so more pieces of one split soon gain nothing.
_MOST_PIECES_ON_BEAM = 8


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some consecutive shards of a split: from `first` up to `stop`, or to the last if None."""

    dataset: Dataset
    split: str
    settings: Settings
    first: int
    stop: int | None


def on_processes(
    wanted: Iterable[tuple[Dataset, str]], settings: Settings, num_workers: int
) -> None:
    """Makes the missing shards of datasets' splits in several processes of this machine."""
    pieces = _pieces(wanted, settings, num_workers)
    with concurrent.futures.ProcessPoolExecutor(
        num_workers,
        # A fork would inherit the threads' locks of TensorFlow, where that is at work.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=workers.end_with_parent,
    ) as executor:
        running = [executor.submit(_make, piece) for piece in pieces]
        finished = concurrent.futures.as_completed(running)
        for each in tqdm.tqdm(finished, "preparing", len(running), unit=" pieces", disable=None):
            each.result()


def on_beam(
    wanted: Iterable[tuple[Dataset, str]], settings: Settings, arguments: Sequence[str]
) -> None:
    """Makes the missing shards of datasets' splits in an Apache Beam pipeline.

    Args:
      wanted: datasets and splits.
      settings: where store and raw rows are: at the same paths for this process and all workers.
      arguments: Beam's own, e.g. ["--runner=FnApiRunner"].

    Raises:
      StoreError: Apache Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise StoreError(
            f"Apache Beam cannot be imported: {error}",
            where="preparing on Beam",
            remedy="Run: pip install 'flan-tasks[beam]'",
        ) from error
    pieces = _pieces(wanted, settings, _MOST_PIECES_ON_BEAM)
    with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
        _ = (
            pipeline
            | "Pieces" >> beam.Create(pieces)
            | "Spread over workers" >> beam.Reshuffle()
            | "Make shards" >> beam.Map(_make)
        )


def _pieces(wanted: Iterable[tuple[Dataset, str]], settings: Settings, most: int) -> list[Piece]:
    """The pieces of the splits that are not prepared yet, at most so many of each split."""
    pieces = []
    for dataset, split in wanted:
        try:
            job = store.find(dataset, split, settings, fetch=True)
        except FlanError:
            continue  # fails again, and is reported, where the split is opened
        if not isinstance(job, Job):
            continue
        count = min(job.num_shards, most)
        bounds = [job.num_shards * i // count for i in range(count)]
        # Preparing needs no templates, and they are most of what would have to be sent.
        bare = dataclasses.replace(dataset, templates=(), inverted=())
        pieces += [
            Piece(bare, split, settings, first, stop)
            for first, stop in zip(bounds, [*bounds[1:], None], strict=True)
        ]
    return pieces


def _make(piece: Piece) -> None:
    try:
        job = store.find(piece.dataset, piece.split, piece.settings, fetch=True)
        if isinstance(job, Job):
            preparing.make_shards(job, piece.first, piece.stop, show_progress=False)
    except FlanError as error:
        logging.warning("%s", error)
    except FileNotFoundError:
        logging.info("%s: put in place by another process", piece.dataset.name)
