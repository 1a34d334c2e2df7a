"""What tools/doctor.py finds out about a dataset: which sources can serve it, and which could."""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from flan_tasks import sources, splits, store
from flan_tasks.errors import FlanError
from flan_tasks.origin import Unavailable
from flan_tasks.sources import Settings
from flan_tasks.spec import Dataset

PREPARED, AT_HAND, REACHABLE = "prepared", "at hand", "reachable"
DOWNLOAD, INSTALL, BY_HAND, UNREACHABLE = "download", "install", "by hand", "unreachable"
FAULTY, NO = "faulty", "no"
# Best first.
STATES = (PREPARED, AT_HAND, REACHABLE, DOWNLOAD, INSTALL, BY_HAND, UNREACHABLE, FAULTY, NO)
CAN_BE_HAD = (PREPARED, AT_HAND, REACHABLE)
# What each kind of source that downloads needs installed.
_PACKAGES = {"tfds": "tensorflow_datasets", "hub": "huggingface_hub"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a kind of source, or the store, can do for a dataset.

    Attributes:
      kind: "store", or one of `sources.KINDS`.
      state: one of STATES.
      why: where the rows are, or why they are not there.
      remedy: what to do to have them; "" where there is nothing to do.
      num_bytes: their size where it is known: on disk, or to be downloaded.
    """

    kind: str
    state: str
    why: str
    remedy: str = ""
    num_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A dataset and what was found out about it.

    Attributes:
      dataset: the dataset.
      findings: one of the store, and one of each kind of source in use.
      num_rows: split -> prepared rows, of the splits that are prepared.
    """

    dataset: Dataset
    findings: Sequence[Finding]
    num_rows: Mapping[str, int]

    @property
    def best(self) -> Finding:
        """The finding that decides; a fault in the store does whatever the sources have."""
        return min(self.findings, key=lambda found: (found.state != FAULTY, _rank(found)))

    @property
    def can_be_had(self) -> bool:
        """Whether training on the dataset could start now."""
        return self.best.state in CAN_BE_HAD


def diagnose(dataset: Dataset, settings: Settings) -> Diagnosis:
    """Looks at the store and at each kind of source in use; asks no other machine."""
    found = [_look(dataset, kind, settings) for kind in settings.use]
    at_hand = any(finding.state == AT_HAND for finding in found)
    in_store, num_rows = _look_in_store(dataset, settings, at_hand)
    return Diagnosis(dataset, [in_store, *found], num_rows)


def raw_splits(dataset: Dataset) -> list[str]:
    """The raw splits that the dataset's splits are cut from."""
    parsed = (splits.parse(instruction) for instruction in dataset.splits.values())
    return list(dict.fromkeys(part.raw_split for each in parsed for part in each))


def _rank(finding: Finding) -> int:
    return STATES.index(finding.state)


def _look(dataset: Dataset, kind: str, settings: Settings) -> Finding:
    places: dict[str, None] = {}
    try:
        for split in dataset.splits:
            found = sources.find_split(dataset, split, kind, settings, fetch=False)
            places.update(dict.fromkeys(origin.place for origin in found.origins))
    except Unavailable as error:
        return _not_at_hand(dataset, kind, error)
    return Finding(kind, AT_HAND, ", ".join(places), num_bytes=_bytes_at(places))


def _not_at_hand(dataset: Dataset, kind: str, error: Unavailable) -> Finding:
    source = dataset.source
    if not getattr(source, kind, None):
        return Finding(kind, NO, error.why, error.remedy)
    if kind != "hub" and source.manual:
        return Finding(kind, BY_HAND, error.why, f"{source.manual}\n{error.remedy}".strip())
    if kind == "files":
        return Finding(kind, BY_HAND, error.why, error.remedy)
    if not importlib.util.find_spec(_PACKAGES[kind]):
        return Finding(kind, INSTALL, error.why, f"run: pip install {_PACKAGES[kind]}")
    return Finding(kind, DOWNLOAD, error.why, f"run: python tools/prepare.py {dataset.name}")


def _look_in_store(
    dataset: Dataset, settings: Settings, at_hand: bool
) -> tuple[Finding, dict[str, int]]:
    num_rows = {}
    try:
        for split in dataset.splits:
            found = store.find(dataset, split, settings, fetch=False)
            if isinstance(found, store.PreparedSplit):
                num_rows[split] = found.num_rows
    except FlanError as error:
        # With its raw rows at hand a split is found: what keeps it from that is a fault.
        state = FAULTY if at_hand else NO
        return Finding("store", state, error.what, error.remedy), num_rows
    folder = os.path.join(settings.store_dir, dataset.name)
    if num_rows.keys() == dataset.splits.keys():
        return Finding("store", PREPARED, folder, num_bytes=_bytes_at([folder])), num_rows
    return Finding("store", NO, f"not all splits are prepared in {folder}"), num_rows


def _bytes_at(places: Iterable[str]) -> int | None:
    """Size of what lies at some places, files or folders; None: not files of this machine."""
    total = 0
    for place in {_path(place) for place in places}:
        if not place.exists():
            return None
        files = place.rglob("*") if place.is_dir() else [place]
        total += sum(file.stat().st_size for file in files if file.is_file())
    return total


def _path(place: str) -> pathlib.Path:
    """The path of an origin's place; TFDS's ends in a space and the split."""
    path = pathlib.Path(place)
    return path if path.exists() else pathlib.Path(place.rpartition(" ")[0] or place)
