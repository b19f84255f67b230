"""The figures as SVG, drawn with matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from peers.figures import reset, shared_rows, start, whole_suite
from peers.results import Results
from peers.sides import EVERY_SIDE, FLOOR, PGTEMPLATE

LABELS = {side.name: side.label for side in EVERY_SIDE}
COLORS = {side.name: f"C{number}" for number, side in enumerate(EVERY_SIDE)}
STYLE = {
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "peers",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
}


def draw(results: Results, output: Path) -> None:
    """Draw each figure for which there are measurements."""
    with mpl.rc_context(STYLE):
        _whole_suite(results, output / "whole-suite.svg")
        _reset(results, output / "reset.svg")
        _start(results, output / "start.svg")
        _shared_rows(results, output / "shared-rows.svg")


def _whole_suite(results: Results, file: Path) -> None:
    """A bar per side: the second run as a ratio to the floor; CPU time if the machine was busy."""
    points = [point for point in results.points(whole_suite.NAME) if "-n 2, fsync off" in point]
    if not points:
        return
    kind, name = ("CPU", "warm, CPU") if results.busy else ("wall", "warm")
    sides = results.sides(whole_suite.NAME)[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(sides) + 0.9), layout="constrained")
    for row, side in enumerate(sides):
        place = (whole_suite.NAME, points[0], side)
        seconds, ratio = results.spread(place, name), results.ratio(place, FLOOR.name, name)
        if seconds is None or ratio is None:
            continue
        color = "C3" if side == PGTEMPLATE.name else "C7" if side == FLOOR.name else "C0"
        errors = [[ratio.median - ratio.least], [ratio.greatest - ratio.median]]
        axes.barh(row, ratio.median, xerr=errors, color=color, ecolor="0.3")
        shown = f"  {ratio.median:.2f} ({seconds.median:.1f} s)"
        axes.text(ratio.greatest, row, shown, va="center")
    axes.set_yticks(range(len(sides)), [LABELS[side] for side in sides])
    axes.set_xlabel(f"{kind} time of the second run, over that of the floor ({points[0]})")
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    _save(figure, file)


def _reset(results: Results, file: Path) -> None:
    """A panel per axis, a line per side: CPU milliseconds per test."""
    titles = {"tables": "tables", "dirty": "tables written to, of 100", "rows": "rows written"}
    axis_points = {
        axis: {
            point: int(point.split()[1])
            for point in results.points(reset.NAME)
            if point.startswith(f"{axis} ")
        }
        for axis in titles
    }
    measured = {axis: points for axis, points in axis_points.items() if len(points) > 1}
    if not measured:
        return
    figure, panels = plt.subplots(
        1,
        len(measured),
        figsize=(4 + 3 * len(measured), 4),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axes, (axis, points) in zip(panels[0], measured.items(), strict=True):
        _lines(axes, results, reset.NAME, points, "CPU")
        axes.set(xlabel=titles[axis], xscale="log", yscale="log")
    panels[0][0].set_ylabel("CPU milliseconds per test")
    _legend(figure, panels[0][0])
    _save(figure, file)


def _start(results: Results, file: Path) -> None:
    """A row per state, a panel per axis, a line per side: CPU seconds."""
    numbers = {
        point: (int(point.split()[0]), int(point.split()[2]))
        for point in results.points(start.NAME)
    }
    if len(numbers) < 2:
        return
    full = start.FULL
    axis_points = (
        {point: revisions for point, (revisions, w) in numbers.items() if w == full.workers[0]},
        {point: workers for point, (r, workers) in numbers.items() if r == full.revisions[0]},
    )
    figure, panels = plt.subplots(
        len(start.STATES), 2, figsize=(9, 9), sharey=True, layout="constrained"
    )
    for row, state in zip(panels, start.STATES, strict=True):
        for axes, points in zip(row, axis_points, strict=True):
            _lines(axes, results, start.NAME, points, f"{state}, CPU")
            axes.set(yscale="log", title=state)
        row[0].set_ylabel("CPU seconds")
    panels[-1][0].set_xlabel(f"revisions ({full.workers[0]} workers)")
    panels[-1][1].set_xlabel(f"workers ({full.revisions[0]} revisions)")
    _legend(figure, panels[0][0])
    _save(figure, file)


def _shared_rows(results: Results, file: Path) -> None:
    """A bar per way: seconds of the run."""
    ways = [
        (way, spread)
        for point in results.points(shared_rows.NAME)
        for way in reversed(shared_rows.BASE)
        if (spread := results.spread((shared_rows.NAME, point, way), "CPU"))
    ]
    if not ways:
        return
    figure, axes = plt.subplots(figsize=(8, 2.6), layout="constrained")
    for row, (_, spread) in enumerate(ways):
        errors = [[spread.median - spread.least], [spread.greatest - spread.median]]
        axes.barh(row, spread.median, xerr=errors, color="C0", ecolor="0.3")
    axes.set_yticks(range(len(ways)), [way for way, _ in ways])
    axes.set_xlabel(f"CPU seconds ({results.points(shared_rows.NAME)[0]})")
    _save(figure, file)


def _lines(axes: Any, results: Results, figure: str, points: dict[str, int], name: str) -> None:
    """A line per side through the points, which have these numbers on the axis."""
    for side in results.sides(figure):
        found = [
            (number, spread)
            for point, number in sorted(points.items(), key=lambda each: each[1])
            if (spread := results.spread((figure, point, side), name))
        ]
        if not found:
            continue
        x, y = [number for number, _ in found], [spread.median for _, spread in found]
        low = [spread.median - spread.least for _, spread in found]
        high = [spread.greatest - spread.median for _, spread in found]
        width = 2.2 if side == PGTEMPLATE.name else 1.2
        style = ":" if side == FLOOR.name else "-"
        axes.errorbar(
            x,
            y,
            [low, high],
            label=LABELS[side],
            color=COLORS[side],
            marker="o",
            markersize=3,
            linewidth=width,
            linestyle=style,
            elinewidth=0.7,
        )
        axes.set_xticks(x, [f"{number:,}" for number in x], minor=False)


def _legend(figure: Any, axes: Any) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
