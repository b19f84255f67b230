"""Quote identifiers and literals for SQL text: utility statements accept no parameters."""

from __future__ import annotations


def quote_identifier(identifier: str) -> str:
    """Quote an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote an SQL string; valid for any ``standard_conforming_strings``."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
