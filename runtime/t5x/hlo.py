"""What a compiled program sends between devices, read from its text (XLA's HLO)."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)

_BITS = {"pred": 8}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = (.+?) ([a-z][a-z0-9\-]*)\((.*)$")
_ARRAY = re.compile(r"\b(pred|[a-z]+\d+)\w*\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_BOUND = re.compile(r"^(\d+)\)")
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]+)\})")
_NAMED_GROUPS = re.compile(r"replica_groups=mesh\[([^\]]*)\] \{([^}]*)\}")


@dataclasses.dataclass
class Traffic:
    """Collectives of one kind: how often a device takes part in a step, and with how many bytes.

    The bytes are those of the arrays that a device ends up with; of a reduce-scatter, those that it
    starts from.
    """

    count: int = 0
    bytes: int = 0


@dataclasses.dataclass(frozen=True)
class _Instruction:
    opcode: str
    type: str
    rest: str


def traffic(text: str) -> dict[str, Traffic]:
    """Sums over one run of a program, loops by their number of turns, by kind of collective.

    Args:
        text: The optimized program of one device, as `compiled.as_text()` gives it. A loop whose
            number of turns it doesn't tell counts once.
    """
    entry, computations = _parse(text)
    found: dict[str, Traffic] = collections.defaultdict(Traffic)
    for name, times in _runs(entry, computations).items():
        for instruction in computations[name]:
            kind = instruction.opcode.removesuffix("-start")
            if kind in COLLECTIVES:
                found[kind].count += times
                found[kind].bytes += times * _moved(kind, instruction)
    return dict(sorted(found.items()))


def _parse(text: str) -> tuple[str, dict[str, list[_Instruction]]]:
    """The name of the first computation to run, and the instructions of each by name."""
    entry = ""
    computations: dict[str, list[_Instruction]] = {}
    current: list[_Instruction] = []
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            current.append(_Instruction(match[2], match[1], match[3]))
        elif match := _COMPUTATION.match(line):
            current = computations[match[2]] = []
            entry = match[2] if match[1] else entry
    return entry, computations


def _runs(entry: str, computations: dict[str, list[_Instruction]]) -> dict[str, int]:
    """How often each computation runs. The text has every one before those that call it."""
    times = collections.defaultdict(int, {entry: 1})
    for name in reversed(computations):
        for instruction in computations[name] if times[name] else ():
            for callee, turns in _calls(instruction, computations):
                times[callee] += times[name] * turns
    return {name: count for name, count in times.items() if name in computations}


def _calls(
    instruction: _Instruction, computations: dict[str, list[_Instruction]]
) -> Iterator[tuple[str, int]]:
    """The computations that an instruction runs, and how often."""
    if instruction.opcode.endswith(("-done", "-update")):
        return
    called = _CALLED.findall(instruction.rest)
    if branches := _BRANCHES.search(instruction.rest):
        called += [name.strip().lstrip("%") for name in branches[1].split(",")]
    turns = _turns(instruction, computations) if instruction.opcode == "while" else 1
    for name in called:
        yield name, turns


def _turns(loop: _Instruction, computations: dict[str, list[_Instruction]]) -> int:
    """As the compiler notes it, or else what the condition compares the counter with.

    The loops that JAX and XLA write count from 0 by 1.
    """
    if noted := _TRIPS.search(loop.rest):
        return int(noted[1])
    condition = re.search(r"condition=%?([\w.\-]+)", loop.rest)
    assert condition is not None
    bounds = [
        _BOUND.match(instruction.rest)
        for instruction in computations[condition[1]]
        if instruction.opcode == "constant" and re.match(r"[su]\d+\[\]", instruction.type)
    ]
    return int(bounds[0][1]) if len(bounds) == 1 and bounds[0] else 1


def _moved(kind: str, instruction: _Instruction) -> int:
    sizes = [_size(*array) for array in _ARRAY.findall(instruction.type)]
    if kind == "reduce-scatter":
        return sum(sizes) * _group_size(instruction.rest)
    if not instruction.opcode.endswith("-start") or kind == "all-reduce":
        return sum(sizes)
    # The start of an asynchronous collective has its operands in its type, before its results.
    return max(sizes) if kind != "all-gather" else sum(sizes[len(sizes) // 2 :])


def _size(dtype: str, shape: str) -> int:
    bits = _BITS.get(dtype) or int(re.sub(r"\D", "", dtype))
    return math.prod(int(n) for n in shape.split(",") if n) * bits // 8


def _group_size(attributes: str) -> int:
    if match := _GROUPS.search(attributes):
        return int(match[1]) if match[1] else len(match[2].split(","))
    if match := _NAMED_GROUPS.search(attributes):
        sizes = dict(axis.split("=") for axis in match[1].split(","))
        return math.prod(int(sizes[axis]) for axis in match[2].split(","))
    return 1
