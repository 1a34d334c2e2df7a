"""What tools/doctor.py finds out about a dataset: which sources can serve it, and which could."""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence

from flan_tasks import sources, splits, store
from flan_tasks.errors import FlanError
from flan_tasks.origin import Origin, Unavailable
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
    origins: dict[str, Origin] = {}
    try:
        for split in dataset.splits:
            found = sources.find_split(dataset, split, kind, settings, fetch=False)
            origins.update({origin.in_words: origin for origin in found.origins})
    except Unavailable as error:
        return _not_at_hand(dataset, kind, error)
    except FlanError as error:
        return Finding(kind, FAULTY, error.what, error.remedy)
    sizes = [origin.num_bytes for origin in origins.values()]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    return Finding(kind, AT_HAND, ", ".join(origins), num_bytes=total)


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
    folder = pathlib.Path(settings.store_dir, dataset.name)
    if num_rows.keys() != dataset.splits.keys():
        return Finding("store", NO, f"not all splits are prepared in {folder}"), num_rows
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Finding("store", PREPARED, str(folder), num_bytes=size), num_rows
