"""For people: aligned columns that fit the terminal, and how many there are of a thing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

GAP = 2
NARROWEST = 12  # columns are not cut below that


def pluralize(number: int, thing: str) -> str:
    """``1 test``, ``2 tests``."""
    return f"{number} {thing}{'s' * (number != 1)}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A line for each row. In a terminal the widest columns are cut until all fit.

    What is in the first column is a name: it is cut in its middle, for names differ at their ends.
    """
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty():
        _fit(widths, shutil.get_terminal_size().columns)
    for row in rows:
        cuts = (_cut_in_the_middle, *[_cut] * (len(row) - 1))
        cells = zip(cuts, row, widths, strict=True)
        yield (" " * GAP).join(cut(cell, width).ljust(width) for cut, cell, width in cells).rstrip()


def _fit(widths: list[int], wanted: int) -> None:
    over = sum(widths) + GAP * (len(widths) - 1) - wanted
    while over > 0 and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
        over -= 1


def _cut_in_the_middle(cell: str, width: int) -> str:
    head = (width - 2) // 2
    return cell if len(cell) <= width else f"{cell[:head]}..{cell[head + 2 - width :]}"


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 2]}.."
