"""Hide a password in what is about to be shown, in whatever way it is written there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any
from urllib.parse import quote, unquote

_IN_URL = re.compile(r"://[^:/@]*:([^@]*)@|[?&]sslpassword=([^&]*)")
_IN_SQL = re.compile(
    r"""(?ix) (?<= :// ) ( [^\s:/@']* : ) [^\s@]* (?= @ )
      | \b ( password \s+ ) (?: E' (?: [^'\\] | '' | \\. )* ' | ' (?: [^'] | '' )* '
                               | (?P<tag> \$\w*\$ ) .*? (?P=tag) )
      | \b ( password = ) [^\s'"$%:]+"""
)
_EXPECTED = r"""(?i:(://[^\s:/@]*:|passw(?:or)?d['"]?\s*[:=,]\s*['"]?))"""


def find_passwords(urls: Iterable[str]) -> set[str]:
    """The passwords in ``urls``, also in those that cannot be parsed."""
    found = chain.from_iterable(chain.from_iterable(map(_IN_URL.findall, urls)))
    return {unquote(each) for each in found if each}


def redact(text: str, password: str) -> str:
    """Replace ``password`` by ``***``: plain, in a URL or config file, by ``repr``, as JSON."""
    urls = {quote(password, safe=safe) for safe in ("", "/", "+", " +")}
    others = {password, repr(password)[1:-1], json.dumps(password)[1:-1]}
    spellings = urls | others | {spelling.replace("%", "%%") for spelling in urls}
    for spelling in sorted(spellings - {""}, key=len, reverse=True):
        # A password that is a word is not hidden within other words: it may be "postgres".
        before = r"(?<!\w)" if spelling[0].isalnum() else ""
        after = r"(?!\w)" if spelling[-1].isalnum() else ""
        text = re.sub(before + re.escape(spelling) + after, "***", text)
    return text


def redact_where_expected(text: str, password: str) -> str:
    """The same; a mere word, as "postgres" or "test", only where a password is to be expected.

    A report of a failed test is full of other words.
    """
    if not password.isalpha():
        return redact(text, password)
    return re.sub(_EXPECTED + re.escape(password) + r"\b(?!:)", r"\1***", text)


def redact_sql(text: str) -> str:
    """Replace passwords of roles, of URLs and of connection strings, whosever they are."""
    return _IN_SQL.sub(lambda found: f"{found[1] or found[2] or found[4]}***", text)


def redact_report(thing: Any, hidden: Callable[[str], str]) -> Any:
    """Apply ``hidden`` to every string within a report of pytest's, in place; return the thing."""
    if isinstance(thing, str):
        return hidden(thing)
    if isinstance(thing, tuple):
        return tuple(redact_report(each, hidden) for each in thing)
    if isinstance(thing, list):
        thing[:] = [redact_report(each, hidden) for each in thing]
    elif type(thing).__module__.startswith("_pytest."):
        for name, value in vars(thing).items():
            setattr(thing, name, redact_report(value, hidden))
    return thing
