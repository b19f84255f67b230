"""What an error means at a server: the message and the next step, as a ServerError."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate.errors import ServerError

_HINTS = {
    asyncpg.DiskFullError: "make room there: every worker's database takes as much of it as the"
    " template, or run fewer workers (pytest -n)",
    asyncpg.OutOfMemoryError: "raise max_locks_per_transaction on the server: a lock for each table"
    " and index of the template has to fit, or there is too little memory",
}


class _Explanation(NamedTuple):
    """``message`` may have the fields ``{place}``, ``{role}`` and ``{error}``."""

    kind: type[BaseException]
    message: str
    hint: str


# The first that fits counts: TimeoutError and SSLError are kinds of OSError.
_EXPLANATIONS = (
    _Explanation(
        asyncpg.InvalidPasswordError,
        'the server at {place} refused the password of role "{role}"',
        "correct the password in pg_url (or PGTEMPLATE_URL, or ~/.pgpass)",
    ),
    _Explanation(
        asyncpg.InvalidAuthorizationSpecificationError,
        'the server at {place} refused role "{role}": {error}',
        "check the role in pg_url, and the server's pg_hba.conf",
    ),
    _Explanation(
        asyncpg.InvalidCatalogNameError,
        "the server at {place} has neither a database postgres nor the one in pg_url: {error}",
        "name a database in pg_url that exists; it is only connected to",
    ),
    _Explanation(
        asyncpg.TooManyConnectionsError,
        "the server at {place} has no connection left: {error}",
        "raise max_connections, or run fewer workers (pytest -n)",
    ),
    _Explanation(
        asyncpg.InsufficientPrivilegeError,
        'role "{role}" may not do this at {place}: {error}',
        "grant what is missing, or name another role in pg_url",
    ),
    _Explanation(
        asyncpg.LockNotAvailableError,
        "waited longer than pg_timeout for a lock at {place}",
        "another run is still building; raise pg_timeout if that is expected",
    ),
    _Explanation(
        asyncpg.ProtocolViolationError,
        "the server at {place} refused the connection: {error}",
        "if it is PgBouncer: list what pg_url sets in its ignore_startup_parameters, and let its"
        " [databases] have an entry * for those that are made here",
    ),
    _Explanation(
        TimeoutError,
        "the server at {place} did not answer in time",
        "check host and port in pg_url, or raise pg_timeout",
    ),
    _Explanation(
        ssl.SSLError,
        "no TLS with the server at {place}: {error}",
        "check sslmode, sslrootcert, sslcert, sslkey and the host's name in pg_url",
    ),
    # A URL that SQLAlchemy can read: the text of the error may hold the password.
    _Explanation(
        ValueError,
        "the URL of the server at {place} cannot be used",
        "write pg_url as postgresql+asyncpg://user:password@host:5432/postgres",
    ),
    *(
        _Explanation(
            kind,
            "cannot connect to the server at {place}: {error}",
            "is it running? check host and port in pg_url; without pg_url the embedded server is"
            " used",
        )
        for kind in (OSError, asyncpg.InterfaceError)
    ),
)


def explain(error: BaseException, url: URL) -> ServerError:
    """Say what ``error`` means at the server of ``url``; an unknown one is raised again."""
    if isinstance(error, asyncpg.InvalidSQLStatementNameError):  # we have just prepared it
        return pooler_error(url)
    may_be_tls_file = isinstance(error, ValueError | OSError) and not isinstance(
        error, TimeoutError | ssl.SSLError
    )
    if may_be_tls_file and (file := _unreadable_tls_file(url)):
        return ServerError(
            f"{file} cannot be read, which TLS with the server at {server_place(url)} takes",
            hint="let sslrootcert (and sslcert, sslkey) in pg_url name files on this machine",
        )
    for kind, message, hint in _EXPLANATIONS:
        if isinstance(error, kind):
            fields = {"place": server_place(url), "role": url.username, "error": error}
            return ServerError(message.format(**fields), hint=hint)
    if isinstance(error, asyncpg.PostgresError):
        return ServerError(
            f"the server at {server_place(url)} answered {error.sqlstate}: {error.args[0]}",
            hint=_HINTS.get(type(error)) or error.hint or "the server's log says more",
        )
    raise error


def pooler_error(url: URL) -> ServerError:
    return ServerError(
        f"the pooler at {server_place(url)} lends a session of the server to one transaction after"
        " the other, and ours must be our own: an advisory lock says which database is in use",
        hint="name the server itself in pg_url, or a pooler in session mode (PgBouncer: pool_mode ="
        " session)",
    )


def server_place(url: URL) -> str:
    """Name a server for people: host and port or socket, never a password."""
    host = url.host or url.query.get("host") or "the default socket"
    port = url.port or url.query.get("port") or 5432
    return f"{host}:{port}"


def _unreadable_tls_file(url: URL) -> str:
    """A file that a connection with TLS takes, and that is not there."""
    query = _urls.for_driver(url, None).query
    files = [str(query[name]) for name in ("sslrootcert", "sslcert", "sslkey") if name in query]
    if query.get("sslmode") in ("verify-ca", "verify-full") and "sslrootcert" not in query:
        files.append(str(Path.home() / ".postgresql/root.crt"))  # libpq's default
    return next((file for file in files if not os.access(file, os.R_OK)), "")
