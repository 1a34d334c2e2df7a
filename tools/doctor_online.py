"""Whether what tools/doctor.py takes for a download can be downloaded: asks the hosts."""

import concurrent.futures
import dataclasses
import re
import urllib.parse
import urllib.request
from collections.abc import Collection, Mapping, Sequence

import doctor_diagnosis
import tqdm
from doctor_diagnosis import DOWNLOAD, REACHABLE, UNREACHABLE, Diagnosis, Finding

from flan_tasks import hub_source, shards
from flan_tasks.spec import Dataset, Source

_WORKERS = 8
_TIMEOUT = 20.0  # seconds

# What is asked once for all datasets that it concerns: kind of source, name, revision on the Hub.
_Question = tuple[str, str, str]
# Name of a file -> its bytes where they are known; or why there is no answer.
_Answer = Mapping[str, int | None] | Exception


def checked(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """The diagnoses with every download of theirs tried, and its size."""
    questions = dict.fromkeys(
        _question(diagnosis.dataset.source, finding.kind)
        for diagnosis in diagnoses
        for finding in diagnosis.findings
        if _is_asked(diagnosis, finding)
    )
    with concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool:
        found = pool.map(_ask, questions)
        progress = tqdm.tqdm(found, "asked", len(questions), unit=" questions", disable=None)
        answers = dict(zip(questions, progress, strict=True))
    return [_with_answers(diagnosis, answers) for diagnosis in diagnoses]


def _is_asked(diagnosis: Diagnosis, finding: Finding) -> bool:
    return finding.state == DOWNLOAD and not diagnosis.can_be_had


def _question(source: Source, kind: str) -> _Question:
    if kind == "tfds":
        return kind, source.tfds, ""
    revision = hub_source.PUBLISHED if source.hub_files else hub_source.CONVERTED
    return kind, source.hub.partition(":")[0], revision


def _ask(question: _Question) -> _Answer:
    kind, name, revision = question
    try:
        return _ask_tfds(name) if kind == "tfds" else _ask_hub(name, revision)
    except Exception as error:  # both packages, and what they call, raise of all kinds
        return error


def _ask_hub(repository: str, revision: str) -> _Answer:
    """The files of a Hub dataset."""
    import huggingface_hub

    found = huggingface_hub.HfApi().dataset_info(
        repository, revision=revision, files_metadata=True, timeout=_TIMEOUT
    )
    return {file.rfilename: file.size for file in found.siblings or ()}


def _ask_tfds(name: str) -> _Answer:
    """What TFDS downloads; raises if a host does not answer."""
    import tensorflow_datasets as tfds

    addresses = tfds.builder(name).url_infos
    if not addresses:
        raise LookupError(f"TFDS has no list of what {name} downloads")
    one_of_host = {urllib.parse.urlparse(address).netloc: address for address in addresses}
    for address in one_of_host.values():
        request = urllib.request.Request(address, headers={"User-Agent": "flan-doctor"})
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()
    return {address: info.size for address, info in addresses.items()}


def _with_answers(diagnosis: Diagnosis, answers: Mapping[_Question, _Answer]) -> Diagnosis:
    dataset = diagnosis.dataset
    findings = [
        _with_answer(finding, dataset, answers[_question(dataset.source, finding.kind)])
        if _is_asked(diagnosis, finding)
        else finding
        for finding in diagnosis.findings
    ]
    return dataclasses.replace(diagnosis, findings=findings)


def _with_answer(finding: Finding, dataset: Dataset, answer: _Answer) -> Finding:
    try:
        if isinstance(answer, Exception):
            raise answer
        names = _hub_names(dataset, answer) if finding.kind == "hub" else list(answer)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        why = f"{type(error).__name__}: {reason}"
        return dataclasses.replace(finding, state=UNREACHABLE, why=why, remedy="")
    num_bytes = sum(answer[name] or 0 for name in names)
    return dataclasses.replace(finding, state=REACHABLE, num_bytes=num_bytes)


def _hub_names(dataset: Dataset, names: Collection[str]) -> list[str]:
    """Those of a Hub dataset's files that hold the dataset; raises if a split is not there."""
    source, found = dataset.source, []
    config = re.escape(source.hub.partition(":")[2]) or "[^/]+"
    for raw_split in doctor_diagnosis.raw_splits(dataset):
        if source.hub_files:
            of_split = shards.pick(names, source.hub_files.get(raw_split, ""))
        else:
            folder = f"{config}/{re.escape(source.hub_split(raw_split))}"
            of_split = [each for each in names if re.fullmatch(rf"{folder}/[^/]+\.parquet", each)]
        if not of_split:
            raise LookupError(f"{source.hub} has no split {source.hub_split(raw_split)!r}")
        found += of_split
    return found
