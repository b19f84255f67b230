"""The figures as Markdown tables and plots, and both in README.md and docs/."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from peers.figures import footprint, reset, shared_rows, start, whole_suite
from peers.results import Place, Results, Spread
from peers.sides import (
    CLASSIC,
    EVERY_SIDE,
    FLOOR,
    MOCK_RESOURCES,
    PGTEMPLATE,
    PGTESTDBPY,
    PYTEST_POSTGRESQL,
    SAVEPOINT,
)

NOT_PUBLISHED = "Not published: the machine was busy, so wall times say little."
END = "<!-- end of table -->"
PLOTS = {
    "whole-suite": "Time of the second run as a ratio to the floor, a bar per side",
    "reset": "CPU time per test against the number of tables, of tables written to and of rows",
    "start": "CPU time of a start against the number of revisions and of workers",
    "shared-rows": "CPU time of a run for each way to create shared rows",
}
LABELS = {side.name: side.label for side in EVERY_SIDE}
README_SIDES = (
    FLOOR,
    PGTEMPLATE,
    SAVEPOINT,
    CLASSIC,
    PYTEST_POSTGRESQL,
    MOCK_RESOURCES,
    PGTESTDBPY,
)


def markdown(results: Results) -> str:
    """All tables, one after the other."""
    return "\n\n".join([f"### {name}\n\n{table}" for name, table in tables(results).items()])


def tables(results: Results) -> dict[str, str]:
    """Each table by the name that marks its place in a page."""
    found = {"conditions": conditions(results), "whole suite, README": readme_table(results)}
    for kind, suffix in (("wall", ""), ("CPU", ", CPU")):
        for state in ("cold", "warm"):
            name = f"whole suite, {state}, {kind} time"
            found[name] = _by_point(results, whole_suite.NAME, f"{state}{suffix}", "s")
        for axis in ("tables", "dirty", "rows"):
            found[f"reset, {axis}, {kind} time"] = _by_point(
                results, reset.NAME, kind, "ms", f"{axis} "
            )
        for state in start.STATES:
            name = f"start, {state}, {kind} time"
            found[name] = _by_point(results, start.NAME, f"{state}{suffix}", "s")
        found[f"shared rows, {kind} time"] = _shared_rows(results, kind)
    found["footprint"] = _footprint(results)
    return {name: table for name, table in found.items() if table}


def conditions(results: Results) -> str:
    """Machine, date, versions and server settings."""
    lines = {
        name: ", ".join(f"{key} {each}" for key, each in value.items())
        if isinstance(value, dict)
        else value
        for name, value in results.conditions.items()
    }
    return _table(["", ""], [[name, str(value)] for name, value in lines.items()])


def readme_table(results: Results) -> str:
    """The whole suite with -n 2, fsync off: both runs; CPU time if the machine was busy."""
    points = [point for point in results.points(whole_suite.NAME) if "-n 2, fsync off" in point]
    if not points:
        return ""
    kind, suffix = ("CPU", ", CPU") if results.busy else ("wall", "")
    rows = [
        [
            side.label,
            *(
                _cell(results, (whole_suite.NAME, points[0], side.name), FLOOR.name, name, "s")
                for name in (f"cold{suffix}", f"warm{suffix}")
            ),
        ]
        for side in README_SIDES
        if results.spread((whole_suite.NAME, points[0], side.name), "warm")
    ]
    head = [points[0], f"first run, {kind} time", f"second run, {kind} time"]
    return _table(head, rows)


def _by_point(results: Results, figure: str, name: str, unit: str, prefix: str = "") -> str:
    """A row for each side, a column for each point: the median, and the ratio to the floor."""
    points = [point for point in results.points(figure) if point.startswith(prefix)]
    rows = [
        [
            LABELS[side],
            *(_cell(results, (figure, point, side), FLOOR.name, name, unit) for point in points),
        ]
        for side in results.sides(figure)
    ]
    return _table(["", *points], rows) if points else ""


def _shared_rows(results: Results, name: str) -> str:
    figure = shared_rows.NAME
    points = results.points(figure)
    rows = [
        [side, *(_cell(results, (figure, point, side), base, name, "s") for point in points)]
        for side, base in shared_rows.BASE.items()
    ]
    return _table(["", *points], rows) if points else ""


def _footprint(results: Results) -> str:
    points = results.points(footprint.NAME)
    rows = [
        [name, *(_megabytes(results, point, name) for point in points)] for name in footprint.NAMES
    ]
    return _table(["", *points], rows) if points else ""


def _megabytes(results: Results, point: str, name: str) -> str:
    spread = results.spread((footprint.NAME, point, PGTEMPLATE.name), name)
    return f"{spread.median:.1f} MB" if spread else ""


def _cell(results: Results, place: Place, base: str, name: str, unit: str) -> str:
    spread = results.spread(place, name)
    ratio = results.ratio(place, base, name)
    if spread is None:
        return ""
    value = f"{_number(spread.median)} {unit}"
    return value if place[2] == base or ratio is None else f"{value}, {_ratio(ratio)}"


def _ratio(ratio: Spread) -> str:
    if _number(ratio.least) == _number(ratio.greatest):
        return f"x{_number(ratio.median)}"
    return f"x{_number(ratio.median)} ({_number(ratio.least)}-{_number(ratio.greatest)})"


def _number(value: float) -> str:
    """With three digits."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}" if value >= 9.95 else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(results: Results, output: Path) -> None:
    """Write figures.md and the plots beside figures.json."""
    (output / "figures.md").write_text(markdown(results) + "\n", "utf-8")
    if find_spec("matplotlib") is None:
        print("no plots: matplotlib is not installed")
        return
    from peers import plots  # noqa: PLC0415 (nothing else needs matplotlib)

    plots.draw(results, output)


def publish(results: Results, output: Path, root: Path) -> None:
    """Copy figures.json and the plots to docs/benchmarks/; write the tables into the pages."""
    target = root / "docs" / "benchmarks"
    target.mkdir(exist_ok=True)
    for file in (output / "figures.json", *output.glob("*.svg")):
        shutil.copy(file, target)
    for page in (root / "README.md", root / "docs" / "benchmarks.md"):
        page.write_text(fill_page(page.read_text("utf-8"), results, target), "utf-8")


def fill_page(text: str, results: Results, plots: Path) -> str:
    """The page, with each table, and each plot in ``plots``, between the marks of its name."""
    found = tables(results)
    if results.busy:
        found |= {name: NOT_PUBLISHED for name in found if name.endswith("wall time")}
    for plot in plots.glob("*.svg"):
        found[f"plot, {plot.stem}"] = f"![{PLOTS[plot.stem]}](benchmarks/{plot.name})"
    for name, table in found.items():
        begin = f"<!-- table: {name} -->\n"
        before, mark, after = text.partition(begin)
        if mark:
            text = f"{before}{begin}\n{table}\n\n{END}{after.partition(END)[2]}"
    return text
