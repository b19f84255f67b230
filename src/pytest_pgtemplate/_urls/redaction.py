"""Hide passwords in text that the plugin is about to show, in every spelling of the password."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from urllib.parse import quote, unquote

_PASSFILE_ENTRY = re.compile(r"(?:(?:[^:\\]|\\.)*:){4}(.*)")
_IN_URL = re.compile(r"://[^:/]*:([^@]*)@|[?&]sslpassword=([^&]*)")
# Each alternative has a group for the text before the password, which stays: a URL, PASSWORD '..'
# of a role (with any kind of quotes), and password=.. of a connection string.
_IN_SQL = re.compile(
    r"""(?ix) (?<= :// ) (?P<url> [^\s:/@']* : ) [^\s@]* (?= @ )
      | \b (?P<role> password \s+ ) (?: E' (?: [^'\\] | '' | \\. )* ' | ' (?: [^'] | '' )* '
                                      | (?P<tag> \$\w*\$ ) .*? (?P=tag) )
      | \b (?P<connection> password = ) [^\s'"$%:]+"""
)
_CONTEXT = r"""(?i:(://[^\s:/@]*:|passw(?:or)?d['"]?\s*[:=,]\s*['"]?))"""


def find_passwords(urls: Iterable[str]) -> set[str]:
    """Return the passwords in ``urls``, also in URLs that cannot be parsed."""
    found = chain.from_iterable(chain.from_iterable(map(_IN_URL.findall, urls)))
    return {unquote(password) for password in found if password}


def find_passwords_of_libpq() -> set[str]:
    """Return the passwords that clients use for a URL without one, of whichever server.

    https://www.postgresql.org/docs/current/libpq-pgpass.html and libpq-pgservice.html
    """
    found = {os.environ.get("PGPASSWORD", "")}
    for line in _lines_of("PGPASSFILE", ".pgpass"):
        if not line.startswith("#") and (entry := _PASSFILE_ENTRY.fullmatch(line)):
            found.add(re.sub(r"\\(.)", r"\1", entry[1]))
    for line in _lines_of("PGSERVICEFILE", ".pg_service.conf"):
        key, _, value = line.partition("=")
        if key.strip() == "password":
            found.add(value.strip())
    return found - {""}


def _lines_of(variable: str, default: str) -> list[str]:
    try:
        file = Path(os.environ.get(variable) or Path.home() / default)
        return file.read_text("utf-8", "replace").splitlines()
    except (OSError, RuntimeError):  # there is no such file, or no home directory
        return []


def redact(text: str, password: str) -> str:
    """Replace ``password`` by ``***``: plain, quoted in a URL or config file, as repr or JSON."""
    urls = {quote(password, safe=safe) for safe in ("", "/", "+", " +")}
    others = {password, repr(password)[1:-1], json.dumps(password)[1:-1]}
    spellings = urls | others | {spelling.replace("%", "%%") for spelling in urls}
    for spelling in sorted(spellings - {""}, key=len, reverse=True):
        # A password may be a common word ("postgres"), so parts of other words are left alone.
        before = r"(?<!\w)" if spelling[0].isalnum() else ""
        after = r"(?!\w)" if spelling[-1].isalnum() else ""
        text = re.sub(before + re.escape(spelling) + after, "***", text)
    return text


def redact_where_expected(text: str, password: str) -> str:
    """Redact, but replace a purely alphabetic password only next to ``password=`` or in a URL.

    Otherwise, the password "test" would make the report of a failed test unreadable.
    """
    if not password.isalpha():
        return redact(text, password)
    return re.sub(_CONTEXT + re.escape(password) + r"\b(?!:)", r"\1***", text)


def redact_sql(text: str) -> str:
    """Replace every password of a role, URL or connection string, not only the known ones."""

    def keep_before(match: re.Match[str]) -> str:
        return f"{match['url'] or match['role'] or match['connection']}***"

    return _IN_SQL.sub(keep_before, text)
