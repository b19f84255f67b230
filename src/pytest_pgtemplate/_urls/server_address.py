"""Parse and render a server URL with the standard library only.

Importing SQLAlchemy's ``URL`` takes about 100 ms. That is too slow for a run without database
tests, which must still set the variables of ``pg_env``.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

# The grammar of sqlalchemy.engine.make_url, but without @ in the host, which would show a part of
# the password. Its user group is atomic: no backtracking into it.
PATTERN = (
    r"postgres(?:ql)?(?:\+(?P<driver>\w+))?://"
    r"(?>(?:(?P<username>[^:/]*)(?::(?P<password>[^@]*))?@)?)"
    r"(?:\[(?P<ipv6>[^/?@]+)\]|(?P<host>[^/:?@]+))?(?::(?P<port>[0-9]+))?"
    r"(?:/(?P<database>[^?]*))?(?:\?(?P<query>.*))?"
)

ANSWER_TIMEOUT = 3.0  # seconds
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # PostgreSQL answers this before authentication

Query = dict[str, str | tuple[str, ...]]


class Address(NamedTuple):
    """The parts of a URL, with the attribute names of SQLAlchemy's ``URL``."""

    drivername: str
    username: str | None
    password: str | None
    host: str | None
    port: int | None
    database: str | None
    query: Query

    def __repr__(self) -> str:
        return f"<address of {self.database}>"  # the tuple's repr would show the password

    def set(self, **changes: Any) -> Address:
        return self._replace(**changes)

    def render(self) -> str:
        """Return the URL with its password."""
        user = password = ""
        if self.username is not None:
            password = "" if self.password is None else f":{quote(self.password, safe=' +')}"
            user = f"{quote(self.username, safe=' +')}{password}@"
        host = f"[{self.host}]" if ":" in (self.host or "") else self.host or ""
        port = "" if self.port is None else f":{self.port}"
        database = "" if self.database is None else f"/{self.database}"
        text = f"{self.drivername}://{user}{host}{port}{database}{_render_query(self.query)}"
        return text.replace(" ", "%20")  # libpq 18 accepts no other spelling

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The host (may be empty, or the directory of a socket) and the port."""
        host = self.host or self.query_value("host")
        return host, self.port or int(self.query_value("port") or 5432)

    def query_value(self, key: str) -> str:
        """Return the first value of ``key`` in the query, or an empty string."""
        value = self.query.get(key, "")
        return value if isinstance(value, str) else value[0]


def is_answering(address: Address) -> bool:
    """Whether a PostgreSQL server answers at ``address``; does not log in."""
    host, port = address.host_and_port
    if not host or "," in host:
        return True  # only libpq knows which of several hosts it would use
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
    """Parse a ``postgresql[+driver]://`` URL. Raises ValueError for any other text."""
    match = re.fullmatch(PATTERN, text)
    if match is None:
        raise ValueError("not a PostgreSQL URL")  # without the text: it may contain a password
    driver, port = match["driver"], match["port"]
    return Address(
        drivername=f"postgresql+{driver}" if driver else "postgresql",
        username=_unquote(match["username"]),
        password=_unquote(match["password"]),
        host=match["host"] or match["ipv6"],
        port=int(port) if port else None,
        database=_unquote(match["database"]),
        query=_parse_query(match["query"] or ""),
    )


def _unquote(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _parse_query(text: str) -> Query:
    values: dict[str, list[str]] = {}
    for key, value in parse_qsl(text):
        values.setdefault(key, []).append(value)
    return {key: tuple(found) if len(found) > 1 else found[0] for key, found in values.items()}


def _render_query(query: Query) -> str:
    pairs = [
        f"{quote(key, safe='')}={quote(value, safe='')}"
        for key, values in sorted(query.items())
        for value in ((values,) if isinstance(values, str) else values)
    ]
    return f"?{'&'.join(pairs)}" if pairs else ""
