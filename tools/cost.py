#!/usr/bin/env python
"""Says what a model costs before it is started: parameters, FLOPs, memory, time and energy.

    python tools/cost.py xl
    python tools/cost.py flan_xl.gin --mesh v4-64
    python tools/cost.py flan_t5_xxl/config.json --mesh h100-8 --inputs 1024 --outputs 5 50 200
    python tools/cost.py flan_xl.gin --mesh v4-64 --json cost.json --plot cost.svg

It names a gin file (bindings as --gin.NAME=value), a model of t5x_configs/models, or a Hugging Face
config.json. Nothing is compiled: `python -m t5x.train --dry_run --mesh=…` does that, and tells the
memory of the real program. docs/cost.md says how all is counted.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

import cost_chart
import cost_config
import cost_devices
import cost_report
import cost_text

from t5x import accelerators
from t5x.errors import T5XError

_BYTES = {"float32": 4, "bfloat16": 2}
_GIN = "--gin."


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the cost; exit code 1 if the configuration can't be read or doesn't fit the mesh."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args([each for each in given if not each.startswith(_GIN)])
    bindings = [each.removeprefix(_GIN) for each in given if each.startswith(_GIN)]
    try:
        found = cost_report.report(cost_config.read(options.config, bindings), _request(options))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        if options.plot:
            options.plot.write_text(cost_chart.chart(found), encoding="utf-8")
    except (T5XError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for line in cost_text.lines(found):
        print(line)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="gin file, model name, or Hugging Face config.json")
    add("--mesh", help="devices: such as v4-64, h100-8, v5e-16; without, no time and no energy")
    add("--num_partitions", type=_positive, help="devices on the model axis (the configuration's)")
    add("--inputs", type=_positive, default=512, help="tokens of a prompt (512)")
    add(
        "--outputs",
        type=_positive,
        nargs="+",
        default=[5, 50],
        help="tokens of answers to compare: direct, with a chain of thought, … (5 50)",
    )
    add("--batch", type=_positive, help="prompts answered at once (one for each data shard)")
    add("--weights", choices=_BYTES, default="float32", help="of parameters to answer (float32)")
    add(
        "--utilization",
        type=_share,
        default=0.4,
        help="share of the devices' peak that is reached, an assumption (0.4)",
    )
    add("--watts", type=float, help="of a chip, where none or others are published")
    add("--json", type=pathlib.Path, metavar="FILE", help="write all figures")
    add("--plot", type=pathlib.Path, metavar="FILE", help="draw the answers, as SVG")
    return parser


def _request(options: argparse.Namespace) -> cost_report.Request:
    devices = None
    if options.mesh:
        wanted = accelerators.parse(options.mesh)
        devices = cost_devices.devices(wanted, options.utilization, options.watts)
    return cost_report.Request(
        options.inputs,
        options.outputs,
        options.batch,
        devices,
        options.num_partitions,
        _BYTES[options.weights],
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be positive")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError("it must be more than 0, and at most 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
