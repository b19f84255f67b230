"""Lists for people: aligned columns that fit the terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

GAP = 2
NARROWEST = 12  # columns are not cut below that


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each row. In a terminal the widest columns are cut until all fit."""
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty():
        _fit(widths, shutil.get_terminal_size().columns)
    for row in rows:
        cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * GAP).join(cells).rstrip()


def _fit(widths: list[int], wanted: int) -> None:
    over = sum(widths) + GAP * (len(widths) - 1) - wanted
    while over > 0 and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
        over -= 1


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 2]}.."
