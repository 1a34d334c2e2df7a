"""Raw rows from the Hugging Face Hub: its own Parquet files of every dataset, or the publisher's.

Needs the package `huggingface_hub` (the extra `hub`), and none of `datasets`.
"""

import functools
import importlib.util
import pathlib
from collections.abc import Iterator, Sequence

from flan_tasks import readers, shards
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row

# Into these the Hub converts every dataset: <config>/<split>/0000.parquet, 0001.parquet …
CONVERTED = "refs/convert/parquet"
PUBLISHED = "main"


def locate(name: str, raw_split: str, *, fetch: bool) -> Origin:
    """A raw split of a Hub dataset, as the Hub converted it.

    Args:
      name: "owner/name" or "owner/name:config".
      raw_split: the Hub's name of the split.
      fetch: whether what is not in the Hub's local cache is downloaded.

    Raises:
      Unavailable: it is not there or cannot be had.
    """
    repository, _, config = name.partition(":")
    pattern = f"{config or '*'}/{raw_split}/*.parquet"
    folder = _snapshot(repository, CONVERTED, pattern, fetch)
    paths = sorted(folder.glob(pattern))
    configs = sorted({path.parent.parent.name for path in paths})
    if len(configs) != 1:
        raise Unavailable(
            f"{name} has {' and '.join(configs) or 'no files'} for {pattern}",
            "name one of its configs in the card, as owner/name:config" if configs else "",
        )
    return _origin(f"{name} {paths[0].parent.name}", folder, paths)


def locate_files(repository: str, pattern: str, *, fetch: bool) -> Origin:
    """A raw split of a Hub dataset in the files that its publisher put there.

    Args:
      repository: "owner/name".
      pattern: path of the file in the repository, or with a * for shards: see `shards`.
      fetch: as in `locate`.

    Raises:
      Unavailable: it is not there, not all of it, or cannot be had.
    """
    if not pattern:
        raise Unavailable(f"the card names no files of {repository} for this raw split")
    folder = _snapshot(repository, PUBLISHED, pattern, fetch)
    paths = [pathlib.Path(path) for path in shards.find(str(folder / pattern))]
    if not paths:
        raise Unavailable(f"{repository} has no files {pattern}, or none in the Hub's cache")
    return _origin(f"{repository} {pattern}", folder, paths)


def _snapshot(repository: str, revision: str, pattern: str, fetch: bool) -> pathlib.Path:
    """The folder in the Hub's cache with those files of a dataset that match."""
    if not repository:
        raise Unavailable("the card names no Hub dataset")
    if not importlib.util.find_spec("huggingface_hub"):
        raise Unavailable(
            f"{repository}: the package huggingface_hub is not installed",
            "run: pip install huggingface_hub",
        )
    wanted = repository, revision, pattern
    found = _download(*wanted) if fetch else _get(*wanted, local_files_only=True)
    if isinstance(found, Exception):
        reason = str(found).strip().partition("\n")[0]
        raise Unavailable(
            f"{repository} is not in the Hub's cache and was not downloaded: "
            f"{type(found).__name__}: {reason}",
            f"see https://huggingface.co/datasets/{repository}; HF_TOKEN opens gated datasets",
        ) from found
    return found


def _get(
    repository: str, revision: str, pattern: str, *, local_files_only: bool
) -> pathlib.Path | Exception:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type="dataset",
            revision=revision,
            allow_patterns=pattern,
            local_files_only=local_files_only,
        )
    except Exception as error:  # the Hub's client and what it calls raise of all kinds
        return error
    return pathlib.Path(folder)


@functools.cache  # once a process for all of a family; and without a network every try takes long
def _download(repository: str, revision: str, pattern: str) -> pathlib.Path | Exception:
    return _get(repository, revision, pattern, local_files_only=False)


def _origin(place: str, snapshot: pathlib.Path, paths: Sequence[pathlib.Path]) -> Origin:
    sizes = [path.stat().st_size for path in paths]

    def read() -> Iterator[Row]:
        for path in paths:
            yield from readers.read(str(path))

    return Origin(place, f"{snapshot.name} {sizes}", read, sum(sizes))
