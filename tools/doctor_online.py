"""Whether what tools/doctor.py takes for a download can be downloaded: asks the hosts."""

import concurrent.futures
import dataclasses
import urllib.parse
import urllib.request
from collections.abc import Sequence

import doctor_diagnosis
import tqdm
from doctor_diagnosis import DOWNLOAD, REACHABLE, UNREACHABLE, Diagnosis, Finding

from flan_tasks.spec import Dataset

# The branch of a Hub dataset that `flan_tasks.hub_source` reads.
_CONVERTED = "refs/convert/parquet"
_WORKERS = 8
_TIMEOUT = 20.0  # seconds


def checked(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses with every download of theirs tried, and its size."""
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        progress = tqdm.tqdm(
            pool.map(_checked, diagnoses), "asked", len(diagnoses), unit=" datasets", disable=None
        )
        return list(progress)


def _checked(diagnosis: Diagnosis) -> Diagnosis:
    if diagnosis.can_be_had:
        return diagnosis
    findings = [
        _ask(diagnosis.dataset, finding) if finding.state == DOWNLOAD else finding
        for finding in diagnosis.findings
    ]
    return dataclasses.replace(diagnosis, findings=findings)


def _ask(dataset: Dataset, finding: Finding) -> Finding:
    ask = {"tfds": _tfds_size, "hub": _hub_size}[finding.kind]
    try:
        num_bytes = ask(dataset)
    except Exception as error:  # both packages, and what they call, raise of all kinds
        reason = str(error).strip().partition("\n")[0]
        why = f"{type(error).__name__}: {reason}"
        return dataclasses.replace(finding, state=UNREACHABLE, why=why, remedy="")
    return dataclasses.replace(finding, state=REACHABLE, num_bytes=num_bytes)


def _hub_size(dataset: Dataset) -> int:
    """Bytes of the Hub's files; raises if one of the splits is not among them."""
    import huggingface_hub

    repository, _, config = dataset.source.hub.partition(":")
    found = huggingface_hub.HfApi().dataset_info(
        repository, revision=_CONVERTED, files_metadata=True, timeout=_TIMEOUT
    )
    raw_splits = doctor_diagnosis.raw_splits(dataset)
    sizes = dict.fromkeys(map(dataset.source.hub_split, raw_splits), 0)
    for file in found.siblings or ():
        folder, _, name = file.rfilename.rpartition("/")
        of_config, _, split = folder.rpartition("/")
        if name.endswith(".parquet") and split in sizes and of_config == (config or of_config):
            sizes[split] += file.size or 0
    for split, size in sizes.items():
        if not size:
            raise LookupError(f"{dataset.source.hub} has no split {split!r}")
    return sum(sizes.values())


def _tfds_size(dataset: Dataset) -> int | None:
    """Bytes that TFDS downloads, as far as it knows; raises if a host does not answer."""
    import tensorflow_datasets as tfds

    addresses = tfds.builder(dataset.source.tfds).url_infos
    if not addresses:
        raise LookupError(f"TFDS has no list of what {dataset.source.tfds} downloads")
    one_of_host = {urllib.parse.urlparse(address).netloc: address for address in addresses}
    for address in one_of_host.values():
        request = urllib.request.Request(address, headers={"User-Agent": "flan-doctor"})
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
    return sum(info.size for info in addresses.values())
