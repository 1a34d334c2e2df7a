"""Raw rows from the Hugging Face Hub: the Parquet files into which it converts every dataset.

Needs the package `huggingface_hub` (the extra `hub`), and none of `datasets`.
"""

import pathlib
from collections.abc import Iterator

from flan_tasks import readers
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row

# Where the Hub keeps the converted files: <config>/<split>/0000.parquet, 0001.parquet …
_REVISION = "refs/convert/parquet"


def locate(name: str, raw_split: str, *, fetch: bool) -> Origin:
    """A raw split of a Hub dataset.

    Args:
      name: "owner/name" or "owner/name:config".
      raw_split: the Hub's name of the split.
      fetch: whether what is not in the Hub's local cache is downloaded.

    Raises:
      Unavailable: it is not there or cannot be had.
    """
    if not name:
        raise Unavailable("the card names no Hub dataset")
    try:
        import huggingface_hub
    except ImportError:
        raise Unavailable(
            f"{name}: the package huggingface_hub is not installed",
            "run: pip install huggingface_hub",
        ) from None
    repository, _, config = name.partition(":")
    pattern = f"{config or '*'}/{raw_split}/*.parquet"
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            repo_type="dataset",
            revision=_REVISION,
            allow_patterns=pattern,
            local_files_only=not fetch,
        )
    except Exception as error:  # the Hub's client and what it calls raise of all kinds
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(
            f"{name} is not in the Hub's cache and was not downloaded: "
            f"{type(error).__name__}: {reason}",
            f"see https://huggingface.co/datasets/{repository}; HF_TOKEN opens gated datasets",
        ) from error
    return _read_from(pathlib.Path(folder), pattern, name)


def _read_from(folder: pathlib.Path, pattern: str, name: str) -> Origin:
    paths = sorted(folder.glob(pattern))
    configs = sorted({path.parent.parent.name for path in paths})
    if len(configs) != 1:
        raise Unavailable(
            f"{name} has {' and '.join(configs) or 'no files'} for {pattern}",
            "name one of its configs in the card, as owner/name:config" if configs else "",
        )
    sizes = [path.stat().st_size for path in paths]

    def read() -> Iterator[Row]:
        for path in paths:
            yield from readers.read(str(path))

    return Origin(f"{name} {paths[0].parent.name}", f"{folder.name} {sizes}", read)
