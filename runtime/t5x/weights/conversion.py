"""From a checkpoint of any format to one of this engine (and T5X), or to a Hugging Face folder."""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from t5x import layout
from t5x.errors import T5XError
from t5x.weights import (
    hf_folder,
    leaves,
    model_config,
    orbax_writer,
    safetensors_files,
    sources,
    stacking,
    tokenizer_files,
)
from t5x.weights.leaves import Leaf

_PROTOCOL = re.compile(r"\w+://")
TARGETS = ("t5x", "huggingface")


@dataclasses.dataclass(frozen=True)
class Options:
    """How to convert.

    Attributes:
        target: "t5x" or "huggingface"; None: "t5x" if the new folder is called `checkpoint_<step>`.
        dtype: of the parameters, or None for as they are.
        scan_layers: whether layers are stacked in a "t5x" checkpoint; None for as they are.
        optimizer: whether the optimizer's state is taken along, where both formats have one.
        vocabulary: a SentencePiece model, from which a Hugging Face folder gets its tokenizer.
        extra_ids: sentinels that follow its pieces; see `tokenizer_files.write`.
        settings: entries of `config.json` that shapes don't tell.
        shard_bytes: how large a file of weights in a Hugging Face folder may get.
    """

    target: str | None = None
    dtype: str | None = None
    scan_layers: bool | None = None
    optimizer: bool = True
    vocabulary: pathlib.Path | None = None
    extra_ids: int | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    shard_bytes: int = 5 * 10**9


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a conversion will do.

    Attributes:
        source: what is read.
        destination: the folder that is made.
        target: "t5x" or "huggingface".
        leaves: what is written, by our names.
        notes: what is left behind, in words.
    """

    source: sources.Source
    destination: pathlib.Path
    target: str
    leaves: Mapping[str, Leaf]
    notes: list[str]

    @property
    def is_for_t5x(self) -> bool:
        """Whether a checkpoint of this engine is made."""
        return self.target == "t5x"


def plan(path: Any, destination: Any, options: Options) -> Plan:
    """Opens the source and works out what to write.

    Raises:
        T5XError: one of the two paths won't do, or the source doesn't fit the target.
    """
    if _PROTOCOL.match(str(destination)):
        raise T5XError(
            "checkpoints are converted to a local folder only",
            where=str(destination),
            remedy="Convert it to a folder here, then copy it: gcloud storage cp -r.",
        )
    new = pathlib.Path(destination).absolute()
    if new.exists():
        raise T5XError(
            "it is there already", where=str(new), remedy="Give another path, or remove it."
        )
    source = sources.open_source(path)
    target = options.target or ("t5x" if re.fullmatch(r"checkpoint_\d+", new.name) else TARGETS[1])
    is_for_t5x = target == "t5x"
    stacked = (
        stacking.is_stacked(source.leaves) if options.scan_layers is None else options.scan_layers
    )
    found = stacking.arrange(source.leaves, stacked=stacked and is_for_t5x)
    kept, notes = _chosen(found, source, is_for_t5x=is_for_t5x, optimizer=options.optimizer)
    return Plan(source, new, target, kept, notes)


def run(plan: Plan, options: Options, written: Callable[[str], None] = lambda _: None) -> None:
    """Converts; the new folder appears when all of it is written.

    Args:
        plan: what `plan` returned.
        options: likewise what it was given.
        written: called with the name of each leaf that is on disk.

    Raises:
        T5XError: the source is damaged or doesn't fit the target; nothing is left behind.
    """
    with _appearing(plan.destination) as folder:
        if plan.is_for_t5x:
            orbax_writer.write(folder, plan.leaves, dtype=options.dtype, written=written)
            return
        folder.mkdir()
        settings = model_config.settings_of(plan.leaves, options.settings)
        hf_folder.write(
            folder,
            plan.leaves,
            settings,
            step=plan.source.step,
            dtype=options.dtype and safetensors_files.dtype(options.dtype),
            shard_bytes=options.shard_bytes,
            written=written,
        )
        if options.vocabulary:
            tokenizer_files.write(
                folder, options.vocabulary, extra_ids=options.extra_ids, length=512
            )


def _chosen(
    found: Mapping[str, Leaf], source: sources.Source, *, is_for_t5x: bool, optimizer: bool
) -> tuple[dict[str, Leaf], list[str]]:
    """The leaves that are written, and notes on the others."""
    kept = {name: leaf for name, leaf in found.items() if name.startswith("target/")}
    if not kept:
        raise T5XError("it holds no parameters", where=source.path, remedy="Check the path.")
    notes = []
    if is_for_t5x:
        kept["state/step"] = found.get("state/step") or leaves.constant(layout.STEP_ZERO)
        if "state/step" not in found:
            notes.append("It doesn't say how many steps it was trained: its step is 0.")
    others = {name: leaf for name, leaf in found.items() if name.startswith("state/param_states/")}
    others |= {name: found[name] for name in layout.counts(found)}
    if not others:
        notes.append(
            "It holds no optimizer state: training on from it starts the optimizer afresh."
        )
    elif not is_for_t5x:
        notes.append("Hugging Face's format holds no optimizer state: it is left behind.")
    elif not optimizer:
        notes.append("The optimizer state is left behind.")
    else:
        kept |= others
    unknown = sorted({*found} - {*kept} - {*others} - {"state/step"})
    if unknown:
        notes.append(f"Left behind, as nothing here reads it: {', '.join(unknown)}.")
    return kept, notes


@contextlib.contextmanager
def _appearing(destination: pathlib.Path) -> Iterator[pathlib.Path]:
    """A path in a hidden folder, from which what is made there goes to the destination."""
    partial = destination.with_name(f".{destination.name}.partial-{os.getpid()}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.mkdir()
    try:
        yield partial / destination.name
        (partial / destination.name).rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
