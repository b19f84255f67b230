"""A server's URL, read and written with the standard library alone.

SQLAlchemy's ``URL`` takes a tenth of a second to import: too long for a run without a database
test, which may yet have to tell the application where its database would be.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

# As SQLAlchemy reads it, who never takes back that something was a user.
PATTERN = (
    r"postgres(?:ql)?(?:\+(?P<driver>\w+))?://"
    r"(?>(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?)"
    r"(?:\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(?::(?P<port>[0-9]+))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)

ANSWER_TIMEOUT = 3.0  # seconds that a server has to answer
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # any PostgreSQL answers this, whoever asks

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
            password = "" if self.password is None else f":{quote(self.password, safe=' +')}"
            user = f"{quote(self.username, safe=' +')}{password}@"
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host or ""
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{self.database}"
        text = f"{self.drivername}://{user}{host}{port}{database}{_query(self.query)}"
        return text.replace(" ", "%20")  # libpq of 18 takes no other spelling

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Host, which may be a directory with a socket or nothing, and port."""
        return (
            self.host or self.query_value("host"),
            self.port or int(self.query_value("port") or 5432),
        )

    def query_value(self, key: str) -> str:
        """The value in the query, or nothing."""
        found = self.query.get(key, "")
        return found if isinstance(found, str) else found[0]


def is_answering(address: Address) -> bool:
    """Whether a PostgreSQL is there, as far as that can be told without logging in."""
    host, port = address.host_and_port
    if not host or "," in host:
        return True  # libpq has several places to look at
    try:
        with _connect(host, port) as connection:
            connection.sendall(_SSL_REQUEST)
            return bool(connection.recv(1))
    except OSError:
        return False


def _connect(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), ANSWER_TIMEOUT)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_TIMEOUT)
    connection.connect(f"{host}/.s.PGSQL.{port}")
    return connection


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
        f"{quote(key, safe='')}={quote(each, safe='')}"
        for key, value in sorted(query.items())
        for each in ((value,) if isinstance(value, str) else value)
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""
