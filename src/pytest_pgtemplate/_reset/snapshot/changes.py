"""Format the differences between two databases as lines of text."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

OBJECTS_SHOWN = 12
MAX_CHARACTERS = 300  # of one definition

Change = tuple[str | None, str, str | None, str | None]  # container, object, before, after


def describe(changes: list[Change]) -> Iterator[str]:
    """Yield lines of text for at most 12 objects."""
    shown = list(_without_parts(changes))
    for change in shown[:OBJECTS_SHOWN]:
        yield from _lines(change)
    if shown[OBJECTS_SHOWN:]:
        yield f"and {len(shown) - OBJECTS_SHOWN} more"


def _without_parts(changes: Iterable[Change]) -> Iterator[Change]:
    """Leave out objects whose container was added or removed, too."""
    changes = list(changes)
    whole = {name for _, name, before, after in changes if before is None or after is None}
    return (change for change in changes if change[0] not in whole)


def _lines(change: Change) -> Iterator[str]:
    _, name, before, after = change
    if before is None:
        yield f"left behind: {name}: {_shorten(after)}"
    elif after is None:
        yield f"missing: {name}: {_shorten(before)}"
    else:
        yield f"changed: {name}"
        lines = difflib.ndiff(before.splitlines(), after.splitlines())
        differences = [(line[0], line[2:]) for line in lines if line[0] in "+-"]
        only_spaces = _without_spaces(differences, "-") == _without_spaces(differences, "+")
        for sign, text in differences:
            yield f"  {sign} {text!r}" if only_spaces else f"  {sign} {_shorten(text)}"


def _without_spaces(differences: Iterable[tuple[str, str]], side: str) -> str:
    return "".join("".join(text.split()) for sign, text in differences if sign == side)


def _shorten(text: str | None) -> str:
    text = " ".join((text or "").split())
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]} .."
