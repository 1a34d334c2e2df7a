#!/usr/bin/env python
"""Shows what one or many runs came to: curves, scores with intervals, mixture, cost, examples.

    python tools/report.py runs/flan_xl
    python tools/report.py runs/flan_xl runs/flan_xl_eval --mesh v4-64 --html report.html
    python tools/report.py sweeps/table1/runs/flan_xl/table1/*/seed_* --html table1.html

A RUN is the MODEL_DIR of a training run, or the output directory of an evaluation, which joins the
training run whose checkpoints it read if that is named too. Runs that differ in their seed only are
one column. It reads metrics.jsonl, evaluation/, training_data.json and config.gin; what of them is
missing is shown as not recorded. Runs in a bucket are copied here first, without checkpoints.
"""

import argparse
import pathlib
import shutil
import sys
from collections.abc import Sequence

import cost_devices
import report_facts
import report_groups
import report_page
import report_runs
import report_scores
import report_text
from run_metrics import RunError
from sweep_plan import write_whole

from flan_tasks.errors import FlanError
from t5x import accelerators
from t5x.errors import T5XError


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the report and writes the page; exit code 1 if a run can't be read."""
    options = _parser().parse_args(arguments)
    try:
        groups = report_groups.grouped(report_runs.read(options.runs))
        scores = report_scores.Scores(groups, options.step)
        facts = report_facts.facts(scores, _devices(options))
        if options.html:
            title = options.title or " · ".join(group.name for group in groups)
            write_whole(options.html, report_page.page(title, scores, facts, options.examples))
        width = shutil.get_terminal_size((120, 24)).columns
        for line in report_text.lines(scores, facts, with_tasks=options.tasks, width=width):
            print(line)
    except BrokenPipeError:  # the reader, a pager say, has seen enough
        sys.stdout = None
    except (RunError, FlanError, T5XError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("runs", nargs="+", type=pathlib.Path, metavar="RUN", help="folder of a run")
    add("--html", type=pathlib.Path, metavar="FILE", help="write a page with everything")
    add("--title", help="of the page (the runs' names)")
    add("--tasks", action="store_true", help="print every task, not the suites alone")
    add("--step", type=int, metavar="N", help="scores of this step only (the latest)")
    add("--examples", type=int, default=3, metavar="N", help="worst and best of each suite (3)")
    add("--mesh", help="devices that trained, such as v4-64: for device hours and energy")
    add("--watts", type=float, help="of a chip, where none or others are published")
    return parser


def _devices(options: argparse.Namespace) -> cost_devices.Devices | None:
    if not options.mesh:
        return None
    return cost_devices.devices(accelerators.parse(options.mesh), 1.0, options.watts)


if __name__ == "__main__":
    sys.exit(main())
