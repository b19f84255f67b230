"""A server's URL, read and written with the standard library alone.

SQLAlchemy's ``URL`` takes a tenth of a second to import: too long for a run without a database
test, which may yet have to tell the application where its database would be.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, unquote

# As SQLAlchemy reads it.
PATTERN = (
    r"postgres(?:ql)?(?:\+(?P<driver>\w+))?://"
    r"(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[0-9]+))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)

Query = dict[str, str | tuple[str, ...]]


class Address(NamedTuple):
    """The parts of a URL, by the names that SQLAlchemy's ``URL`` gives them."""

    drivername: str
    username: str | None
    password: str | None
    host: str | None
    port: int | None
    database: str | None
    query: Query

    def __repr__(self) -> str:
        return f"<address of {self.database}>"  # there may be a password in it

    def set(self, **changes: Any) -> Address:
        return self._replace(**changes)

    def render(self) -> str:
        """The URL, password included."""
        user = password = ""
        if self.username is not None:
            password = "" if self.password is None else f":{quote(self.password, safe='+')}"
            user = f"{quote(self.username, safe='+')}{password}@"
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host or ""
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{self.database.replace(' ', '%20')}"
        return f"{self.drivername}://{user}{host}{port}{database}{_query(self.query)}"


def parse(text: str) -> Address:
    """Read a ``postgresql[+driver]://`` URL. Raises ValueError for another."""
    found = re.fullmatch(PATTERN, text)
    if found is None:
        raise ValueError("not a PostgreSQL URL")  # not shown: it may hold a password
    driver, port = found["driver"], found["port"]
    return Address(
        drivername=f"postgresql+{driver}" if driver else "postgresql",
        username=_unquote(found["username"]),
        password=_unquote(found["password"]),
        host=found["host"] or found["ipv6"],
        port=int(port) if port else None,
        database=_unquote(found["database"]),
        query=_query_of(found["query"] or ""),
    )


def _unquote(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _query_of(text: str) -> Query:
    query: Query = {}
    for key, value in parse_qsl(text):
        before = query.get(key, ())
        several = (*((before,) if isinstance(before, str) else before), value)
        query[key] = several if len(several) > 1 else value
    return query


def _query(query: Query) -> str:
    pairs = [
        f"{quote_plus(key)}={quote_plus(each)}"
        for key, value in sorted(query.items())
        for each in ((value,) if isinstance(value, str) else value)
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""
