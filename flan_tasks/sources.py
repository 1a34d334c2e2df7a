"""Where raw rows come from: files on disk or on a bucket, TFDS, the Hugging Face Hub, the samples.

Which of them may serve, in which order, and where they lie is set in gin or in the environment:

    sources.settings.data_dir = "/data/flan"             # or FLAN_DATA_DIR
    sources.settings.use = ("files", "tfds")             # or FLAN_USE=files,tfds
    sources.settings.files = {"bool_q": {"train": "boolq/train.jsonl"}}

A file may be gzipped, in shards (`shards`), or in an archive of its folder (`archives`). Where a
source holds a whole family in one piece, each dataset takes its own rows (`grouping`). The embedded
samples stand in for data only where `use` names them.
"""

import dataclasses
import difflib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import gin

from flan_tasks import file_source, grouping, hub_source, readers, splits, tfds_source
from flan_tasks.errors import SourceError
from flan_tasks.origin import Origin, Unavailable
from flan_tasks.readers import Row
from flan_tasks.spec import Dataset

KINDS = ("files", "tfds", "hub", "samples")
DEFAULT_USE = KINDS[:3]  # the samples stand in for data only where they are asked for
_SAMPLES = pathlib.Path(__file__).parent / "samples"
_DEFAULT_STORE = "~/.cache/flan"
# Of a dataset's samples, so many at the end are its validation and test split.
HELD_OUT_SAMPLES = 4
# What the others are: examples to learn from, be it in a prompt.
_SHOWN = ("train", "exemplars")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where rows are looked for; made by `settings`.

    Attributes:
      data_dir: folder (local or gs://) that the files' names are relative to; empty: none.
      use: the kinds of source that may serve, first choice first.
      files: dataset or family -> raw split -> file name, instead of the card's; may hold {column}
        of a family's table.
      allow_partial: take splits that have another number of rows than the card says.
      store_dir: local folder of the prepared rows.
      tfds_data_dir: TFDS's data directory; empty: seqio's override, TFDS_DATA_DIR, TFDS's default.
    """

    data_dir: str
    use: tuple[str, ...]
    files: Mapping[str, Mapping[str, str]]
    allow_partial: bool
    store_dir: str
    tfds_data_dir: str

    @functools.cached_property
    def key(self) -> str:
        """The same for equal settings."""
        return repr(self)


@gin.configurable
def settings(
    data_dir: str | None = None,
    use: Sequence[str] | None = None,
    files: Mapping[str, Mapping[str, str]] | None = None,
    allow_partial: bool = False,
    store_dir: str | None = None,
    tfds_data_dir: str | None = None,
) -> Settings:
    """The settings in force: arguments and gin first, then the environment, then the defaults.

    Raises:
      SourceError: `use` names no kind of source, or one that there is not.
    """
    if use is None:
        use = os.environ.get("FLAN_USE") or DEFAULT_USE
    use = tuple(use.split(",")) if isinstance(use, str) else tuple(use)
    for kind in use or ("",):
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, n=1)
            raise SourceError(
                f"there is no source {kind!r}",
                where="sources.settings.use",
                remedy=f"Did you mean {near[0]!r}?" if near else f"Name some of {KINDS}.",
            )
    return Settings(
        data_dir=os.path.expanduser(data_dir or os.environ.get("FLAN_DATA_DIR", "")),
        use=use,
        files=files or {},
        allow_partial=allow_partial,
        store_dir=os.path.expanduser(
            store_dir or os.environ.get("FLAN_STORE_DIR") or _DEFAULT_STORE
        ),
        tfds_data_dir=os.path.expanduser(tfds_data_dir or ""),
    )


@dataclasses.dataclass(frozen=True)
class FoundSplit:
    """A split of a dataset, found in one kind of source."""

    kind: str
    origins: tuple[Origin, ...]
    rows: Callable[[], Iterator[Row]]

    @property
    def origin(self) -> str:
        """Kind and places, for people to read."""
        return f"{self.kind}: {' + '.join(origin.place for origin in self.origins)}"

    @property
    def stamps(self) -> list[str]:
        """What changes when the data change."""
        return [origin.stamp for origin in self.origins]

    @property
    def is_pending(self) -> bool:
        """Whether something has to be done before it is known that the rows are there."""
        return any(origin.pending for origin in self.origins)


class Availability(NamedTuple):
    """Whether a kind of source has a dataset at hand, and where, or why not."""

    kind: str
    ok: bool
    why: str


def raw_rows(dataset: Dataset, raw_split: str, settings: Settings) -> Iterator[Row]:
    """The rows of a raw split, in order, from the first source in use that has it.

    Raises:
      SourceError: no source has it; says where it was looked for and how to get it.
    """
    missing = {}
    for kind in settings.use:
        try:
            return _locate(dataset, raw_split, kind, settings, fetch=True).read()
        except Unavailable as error:
            missing[kind] = error
    raise not_found(dataset, raw_split, missing)


def find_split(
    dataset: Dataset, split: str, kind: str, settings: Settings, *, fetch: bool
) -> FoundSplit:
    """A split of the dataset, in a source of one kind.

    The embedded samples are the same for every raw split; of them the split "train" (an evaluation
    card's: "exemplars") is all but the last four rows, and any other split those four.

    Args:
      dataset: the dataset.
      split: a split of its card.
      kind: one of KINDS.
      settings: where to look.
      fetch: whether what is not at hand may be downloaded, unpacked and grouped.

    Raises:
      Unavailable: this source does not have the whole split.
      SourceError: an archive of it is damaged, or rows cannot be grouped.
    """
    if kind == "samples":
        origin = _samples(dataset)
        start, stop = (None, -HELD_OUT_SAMPLES) if split in _SHOWN else (-HELD_OUT_SAMPLES, None)
        return FoundSplit(kind, (origin,), lambda: iter(list(origin.read())[start:stop]))
    parts = splits.parse(dataset.splits[split])
    found = [_locate(dataset, part.raw_split, kind, settings, fetch=fetch) for part in parts]

    def rows() -> Iterator[Row]:
        for origin, part in zip(found, parts, strict=True):
            yield from part.cut(origin.read)

    return FoundSplit(kind, tuple(found), rows)


def availability(dataset: Dataset, settings: Settings) -> list[Availability]:
    """For each kind in use: whether it has all splits of the dataset at hand. Downloads nothing."""
    report = []
    for kind in settings.use:
        try:
            found = [
                find_split(dataset, split, kind, settings, fetch=False) for split in dataset.splits
            ]
            places = dict.fromkeys(origin.in_words for each in found for origin in each.origins)
            report.append(Availability(kind, True, ", ".join(places)))
        except Unavailable as error:
            report.append(Availability(kind, False, error.why))
    return report


def names(dataset: Dataset, split: str, kind: str, settings: Settings) -> list[str]:
    """What the split's raw splits are called in a kind of source, whether it has them or not."""
    raw_splits = [each.raw_split for each in splits.parse(dataset.splits[split])]
    if kind == "files":
        files = _file_names(dataset, settings)
        return [files.get(raw_split, "") for raw_split in raw_splits]
    if kind == "hub":
        return [dataset.source.hub, *(_hub_name(dataset, each) for each in raw_splits)]
    return [dataset.source.tfds if kind == "tfds" else "samples"]


def not_found(dataset: Dataset, split: str, missing: Mapping[str, Unavailable]) -> SourceError:
    """The error that says where a split was looked for, why each place failed, and what to do."""
    looked_at = [f"    {kind}: {error.why}" for kind, error in missing.items()]
    steps = [dataset.source.manual, *(error.remedy for error in missing.values())]
    remedies = [f"    - {step}" for step in steps if step]
    if "samples" not in missing:
        remedies.append("    - to try things out, add 'samples' to sources.settings.use")
    return SourceError(
        "\n".join([f"split {split!r} is not to be had. Looked at:", *looked_at]),
        where=f"dataset {dataset.name}",
        remedy="\n".join(["Do one of these:", *remedies]),
    )


def _locate(
    dataset: Dataset, raw_split: str, kind: str, settings: Settings, *, fetch: bool
) -> Origin:
    """A raw split in a source of one kind; raises Unavailable."""
    source = dataset.source
    if kind == "samples":
        return _samples(dataset)
    if kind == "files":
        name = _file_names(dataset, settings).get(raw_split, "")
        origin = _in_files(dataset, raw_split, name, settings, fetch)
    elif kind == "tfds":
        name = source.tfds
        origin = tfds_source.locate(name, raw_split, settings.tfds_data_dir, fetch=fetch)
    else:
        on_hub = _hub_name(dataset, raw_split)
        name = f"{source.hub} {on_hub}"
        locate = hub_source.locate_files if source.hub_files else hub_source.locate
        origin = locate(source.hub, on_hub, fetch=fetch)
    if not source.where:
        return origin
    # A file that bears the dataset's name is taken to be its own, and not the whole family's.
    if dataset.name != dataset.family and not all(value in name for value in source.where.values()):
        layout = f"{source.columns} {source.rows}"
        origin = grouping.locate(origin, source.where, layout, settings.store_dir, fetch=fetch)
    return dataclasses.replace(
        origin, read=lambda: (row for row in origin.read() if _belongs(row, source.where))
    )


def _belongs(row: Row, wanted: Mapping[str, str]) -> bool:
    """Whether a row is the dataset's; a source without the column holds nothing but its rows."""
    return all(row.get(column, value) == value for column, value in wanted.items())


def _file_names(dataset: Dataset, settings: Settings) -> dict[str, str]:
    """Raw split -> file name: the card's, with those put in that the settings give."""
    given = {**settings.files.get(dataset.family, {}), **settings.files.get(dataset.name, {})}
    filled = {split: name.format_map(dataset.constants) for split, name in given.items()}
    return {**dataset.source.files, **filled}


def _hub_name(dataset: Dataset, raw_split: str) -> str:
    """What a raw split is on the Hub: a split's name, or a pattern of files."""
    source = dataset.source
    return source.hub_files.get(raw_split, "") if source.hub_files else source.hub_split(raw_split)


def _in_files(
    dataset: Dataset, raw_split: str, name: str, settings: Settings, fetch: bool
) -> Origin:
    if not name:
        raise Unavailable(
            f"no file is named for raw split {raw_split!r}",
            f"name it: sources.settings.files = "
            f"{{{dataset.name!r}: {{{raw_split!r}: 'path of the file'}}}}",
        )
    if not settings.data_dir and not os.path.isabs(name):
        raise Unavailable(
            f"no data directory is set, in which {name} could lie",
            f"set sources.settings.data_dir or FLAN_DATA_DIR to the folder that holds {name}",
        )
    return file_source.locate(dataset, name, settings.data_dir, settings.store_dir, fetch=fetch)


def _samples(dataset: Dataset) -> Origin:
    row_name = dataset.constants.get("task_name")
    folder = _SAMPLES / dataset.family if row_name else _SAMPLES
    path = folder / f"{row_name or dataset.name}.jsonl"
    found = readers.stat(str(path))
    if not found:
        raise Unavailable(f"there is no {path}")
    return Origin(str(path), str(found), functools.partial(readers.read, str(path)), found[0])
