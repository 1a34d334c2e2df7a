"""What devices can do and what they draw: time and energy of arithmetic on them.

Facts from the makers' pages, per chip. TPUs: cloud.google.com/tpu/docs/v3, v4, v5e, v5p and v6e,
dense bfloat16 and HBM bandwidth; power is the mean that Google measured, and unpublished for later
ones. GPUs: NVIDIA's data sheets of A100 80GB SXM, H100 SXM and H200 SXM, dense bfloat16; power is
the most that a board may draw.
"""

import dataclasses

from t5x.accelerators import ACCELERATORS, Slice
from t5x.errors import T5XError

_JOULES_PER_KWH = 3.6e6


@dataclasses.dataclass(frozen=True)
class Chip:
    """Of one chip: FLOPs a second, bytes a second, and watts (None where none are published)."""

    flops: float
    bandwidth: float
    watts: float | None


CHIPS = {
    "v3": Chip(123e12, 900e9, 220),
    "v4": Chip(275e12, 1200e9, 170),
    "v5e": Chip(197e12, 819e9, None),
    "v5p": Chip(459e12, 2765e9, None),
    "v6e": Chip(918e12, 1638e9, None),
    "a100": Chip(312e12, 2039e9, 400),
    "h100": Chip(989e12, 3350e9, 700),
    "h200": Chip(989e12, 4800e9, 700),
}


@dataclasses.dataclass(frozen=True)
class Devices:
    """Devices that share their work evenly.

    Attributes:
        name: As the user gave it, such as "v4-64".
        count: Devices as JAX counts them.
        memory: Bytes of a device.
        flops: FLOPs a second of a device at its peak.
        bandwidth: Bytes a second between a device and its memory.
        watts: Of a device; None if unknown.
        utilization: Share of either peak that is reached.
    """

    name: str
    count: int
    memory: int
    flops: float
    bandwidth: float
    watts: float | None
    utilization: float

    def seconds(self, flops: float, moved_bytes: float = 0) -> float:
        """Of arithmetic, or of moving what it reads if that takes longer; on all devices."""
        slower = max(flops / self.flops, moved_bytes / self.bandwidth)
        return slower / self.count / self.utilization

    def joules(self, seconds: float) -> float | None:
        """What all devices draw in a time; neither hosts nor cooling."""
        return None if self.watts is None else seconds * self.watts * self.count


def devices(wanted: Slice, utilization: float, watts: float | None) -> Devices:
    """What a slice such as `t5x.accelerators.parse("v4-64")` is of.

    Args:
        wanted: Its kind must be named.
        utilization: See `Devices`.
        watts: Of a chip; None takes what is published.

    Raises:
        T5XError: The slice is a number only.
    """
    accelerator = wanted.accelerator
    if accelerator is None:
        raise T5XError(
            f"{wanted.devices} devices of no special kind have no speed",
            where="--mesh",
            remedy=f"Write such as --mesh=v4-64; it knows {', '.join(ACCELERATORS)}.",
        )
    chip, shared_by = CHIPS[accelerator.name], accelerator.devices_per_chip
    watts = chip.watts if watts is None else watts
    return Devices(
        accelerator.slice_of(wanted.devices),
        wanted.devices,
        accelerator.memory,
        chip.flops / shared_by,
        chip.bandwidth / shared_by,
        None if watts is None else watts / shared_by,
        utilization,
    )


def kilowatt_hours(joules: float) -> float:
    """The same energy."""
    return joules / _JOULES_PER_KWH
