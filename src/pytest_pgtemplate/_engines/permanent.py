"""Recognise statements with an effect on the session that a reset does not undo."""

from __future__ import annotations

import re

# A statement has such an effect if it contains the word and matches. Searching for the word first
# takes 0.1 µs each; all expressions together would take 30 µs.
_EFFECTS = [
    (word, re.compile(expression))
    for word, expression in {
        # DEALLOCATE ALL would also drop the statements that the driver has prepared. If the test
        # drops them, the driver uses them all the same.
        "prepare": r"\bprepare\s",
        "deallocate": r"\bdeallocate\s",
        "discard": r"\bdiscard\s+all\b",
        # No query lists custom settings, and RESET makes them '', not NULL.
        "set_config": "",
        "set": r'\bset\s+(?:session\s+|local\s+)?(?:"[^"]*\.|"?\w+"?\s*\.)',
        # The next test may create a table of this name with other columns, and asyncpg would
        # execute a query that it has prepared for these.
        "temp": r"\b(?:create|replace|into)\s+(?:local\s+|global\s+)?temp(?:orary)?\s",
        # The seed of random(), a library, and connections of dblink stay with the session.
        "seed": r"\bsetseed\b|\bset\s+(?:session\s+|local\s+)?seed\b",
        "load": r"\bload\s+(?:e|u&)?'",
        "dblink_connect": "",
    }.items()
]


def is_permanent(statement: str) -> bool:
    """Whether no reset of a session undoes what a statement does to it."""
    statement = statement.lower()
    return any(word in statement and pattern.search(statement) for word, pattern in _EFFECTS)
