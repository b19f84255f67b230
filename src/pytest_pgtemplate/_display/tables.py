"""Format tables whose columns fit the terminal, and counts with their noun."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

GAP = 2
MIN_WIDTH = 12  # columns are not shortened below this


def pluralize(number: int, noun: str) -> str:
    """Return ``1 test``, ``2 tests``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a line for each row. In a terminal, the widest columns are shortened until all fit.

    Cells of the first column are names. They are shortened in the middle: names differ at the end.
    """
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty():
        _shrink_widths(widths, shutil.get_terminal_size().columns)
    for row in rows:
        shorten = (_shorten_middle, *[_shorten] * (len(row) - 1))
        cells = zip(shorten, row, widths, strict=True)
        yield (" " * GAP).join(cut(cell, width).ljust(width) for cut, cell, width in cells).rstrip()


def _shrink_widths(widths: list[int], columns: int) -> None:
    excess = sum(widths) + GAP * (len(widths) - 1) - columns
    while excess > 0 and max(widths) > MIN_WIDTH:
        widths[widths.index(max(widths))] -= 1
        excess -= 1


def _shorten_middle(cell: str, width: int) -> str:
    head = (width - 2) // 2
    return cell if len(cell) <= width else f"{cell[:head]}..{cell[head + 2 - width :]}"


def _shorten(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 2]}.."
