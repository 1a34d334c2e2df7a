"""What accelerators there are, as data: their memory, and what their slices are called.

Facts from the makers' pages. cloud.google.com/tpu/docs/v3, v4, v5e, v5p and v6e: memory of a chip,
and names (the number in v3, v4 and v5p counts cores, two per chip; in v5e and v6e it counts chips).
A v3 chip is two devices to JAX, a later one is one. NVIDIA's data sheets: memory of A100 80GB, H100
SXM and H200 SXM.
"""

import dataclasses
import math
import re

from t5x.errors import T5XError

_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    Attributes:
        name: As slices begin: "v4" of "v4-128".
        memory: Bytes of its own memory that a device has.
        counted_per_device: What one device adds to the number in a slice's name.
        dimensions: Of the network that joins the chips of a TPU slice; 0 for GPUs.
        devices_per_chip: Devices that share a chip.
    """

    name: str
    memory: int
    counted_per_device: int = 1
    dimensions: int = 0
    devices_per_chip: int = 1

    def slice_of(self, devices: int) -> str:
        """The name of the slice, or the nodes, that have so many devices."""
        return f"{self.name}-{devices * self.counted_per_device}"

    def topology(self, devices: int) -> str:
        """How the chips of a TPU slice are arranged, such as "v4:4x4x4": as near a cube as can be.

        Raises:
            T5XError: The number of chips is not a power of 2.
        """
        chips = devices // self.devices_per_chip
        if chips < 1 or chips & (chips - 1) or devices % self.devices_per_chip:
            raise T5XError(
                f"{self.slice_of(devices)} is no slice that this engine knows",
                where="--mesh",
                remedy="Name one whose number of chips is a power of 2.",
            )
        doublings = chips.bit_length() - 1
        sizes = [2 ** ((doublings + i) // self.dimensions) for i in range(self.dimensions)]
        # The smallest cube is written flat: 2x2x1.
        return f"{self.name}:{'x'.join(map(str, sorted(sizes, reverse=chips < 8)))}"


ACCELERATORS = {
    accelerator.name: accelerator
    for accelerator in (
        Accelerator("v3", 16 * _GIB, 1, dimensions=2, devices_per_chip=2),
        Accelerator("v4", 32 * _GIB, 2, dimensions=3),
        Accelerator("v5e", 16 * _GIB, 1, dimensions=2),
        Accelerator("v5p", 95 * _GIB, 2, dimensions=3),
        Accelerator("v6e", 32 * _GIB, 1, dimensions=2),
        Accelerator("a100", 80 * 10**9),
        Accelerator("h100", 80 * 10**9),
        Accelerator("h200", 141 * 10**9),
    )
}

# Of a device's memory, what a step may take: the rest goes to the runtime, to fragmentation, and to
# the input batches of the steps ahead.
USABLE = 0.9


@dataclasses.dataclass(frozen=True)
class Slice:
    """Devices to compile for; `accelerator` is None where only their number is known."""

    devices: int
    accelerator: Accelerator | None = None


def parse(text: str) -> Slice:
    """What `--mesh` names: "64" devices of no special kind, or a slice such as "v4-128", "h100-16".

    Raises:
        T5XError: It names neither.
    """
    match = re.fullmatch(r"(?:([a-z]\w*)-)?(\d+)", text)
    accelerator = ACCELERATORS.get(match[1]) if match and match[1] else None
    if not match or int(match[2]) < 1 or (match[1] and accelerator is None):
        raise T5XError(
            f"'{text}' is no number of devices, and no slice that this engine knows",
            where="--mesh",
            remedy=f"Write --mesh=64, or --mesh=v4-128; it knows {', '.join(ACCELERATORS)}.",
        )
    count = int(match[2])
    if accelerator is None:
        return Slice(count)
    if count % accelerator.counted_per_device:
        raise T5XError(
            f"'{text}' has half a chip: its number counts cores, of which a chip has two",
            where="--mesh",
            remedy=f"Write an even number, such as {accelerator.slice_of(math.ceil(count / 2))}.",
        )
    return Slice(count // accelerator.counted_per_device, accelerator)
