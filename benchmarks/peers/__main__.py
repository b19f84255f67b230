"""pytest-pgtemplate beside its alternatives, all on one server and in turn.

    tox run -e bench                              the quick form: tables in a few minutes
    tox run -e bench -- --full                    all figures: figures.json, figures.md, plots
    tox run -e bench -- --full --turns 5 start    five turns of a figure; what an earlier run
                                                  has measured is in figures.json and stays

``--publish`` writes the figures of ``--output`` into README.md and docs/ and measures nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from peers import report
from peers.figures import footprint, reset, shared_rows, start, whole_suite
from peers.results import Results
from peers.sides import EVERY_SIDE, Side

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "benchmarks" / "results"
FIGURES = {each.NAME: each for each in (whole_suite, reset, start, shared_rows, footprint)}


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped
    with tempfile.TemporaryDirectory(prefix="peers", dir="/tmp") as name:
        output = arguments.output or (OUTPUT if arguments.form == "FULL" else Path(name, "results"))
        results = Results(output / "figures.json")
        if not arguments.publish:
            sides = _sides(arguments.sides)
            for figure in arguments.figures or FIGURES:
                module = FIGURES[figure]
                form = getattr(module, arguments.form)
                module.measure(form, sides, arguments.turns, results, Path(name, figure))
        print(report.markdown(results))
        if arguments.output or arguments.form == "FULL":
            report.write(results, output)
        if arguments.publish:
            report.publish(results, output, ROOT)
    for what, error in results.failed.items():
        print(f"FAILED: {what}\n{error}\n")
    return 1 if results.failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", help=f"of {', '.join(FIGURES)}; all if none is named")
    parser.add_argument("--full", dest="form", action="store_const", const="FULL", default="QUICK")
    parser.add_argument("--tiny", dest="form", action="store_const", const="TINY", help="a test's")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--sides", nargs="+", default=[side.name for side in EVERY_SIDE])
    parser.add_argument("--output", type=Path, help=f"default of --full: {OUTPUT.name}/ beside it")
    parser.add_argument("--publish", action="store_true")
    arguments = parser.parse_args()
    unknown = set(arguments.figures) - set(FIGURES)
    if unknown:
        parser.error(f"there is no figure {', '.join(sorted(unknown))}")
    if arguments.publish:
        arguments.form = "FULL"
    return arguments


def _sides(names: list[str]) -> tuple[Side, ...]:
    """Those asked for that can run here; the others are named."""
    asked = [side for side in EVERY_SIDE if side.name in names]
    for side in asked:
        if side.version is None:
            print(f"left out: {side.label}: {side.distribution} is not installed")
    return tuple(side for side in asked if side.version is not None)


if __name__ == "__main__":
    sys.exit(main())
