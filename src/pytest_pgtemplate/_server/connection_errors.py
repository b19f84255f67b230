"""Translate driver errors into ServerError, with a message and a hint."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import NamedTuple

import asyncpg
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._urls import libpq_variables
from pytest_pgtemplate.errors import ServerError

_HINTS = {
    asyncpg.DiskFullError: "free disk space on the server (every worker's database is as large as"
    " the template), or run fewer workers (pytest -n)",
    asyncpg.OutOfMemoryError: "raise max_locks_per_transaction on the server (a clone or reset can"
    " lock every table and index of the template), or add memory",
    asyncpg.ObjectInUseError: "end the sessions of this database; if it has a subscription, connect"
    " to it and run ALTER SUBSCRIPTION .. DISABLE, ALTER SUBSCRIPTION .. SET (slot_name = NONE) and"
    " DROP SUBSCRIPTION; then run pgtemplate prune",
}


# A statement was prepared on another backend: a pooler in transaction mode.
_PREPARED_ELSEWHERE = (
    asyncpg.InvalidSQLStatementNameError,  # 26000
    asyncpg.DuplicatePreparedStatementError,  # 42P05
)
# The same for a session that is open. PgBouncer also uses 08P01 when it refuses a connection.
POOLER_ERRORS = (*_PREPARED_ELSEWHERE, asyncpg.ProtocolViolationError)


class _Explanation(NamedTuple):
    """``message`` may contain the fields ``{place}``, ``{role}`` and ``{error}``."""

    kind: type[BaseException]
    message: str
    hint: str


# The first match applies: TimeoutError and SSLError are subclasses of OSError.
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
        "name an existing database in pg_url; the plugin only connects to it",
    ),
    _Explanation(
        asyncpg.TooManyConnectionsError,
        "the server at {place} has no connection left: {error}",
        "raise max_connections, or run fewer workers (pytest -n)",
    ),
    _Explanation(
        asyncpg.InsufficientPrivilegeError,
        'role "{role}" lacks a privilege at {place}: {error}',
        "grant the missing privilege, or use another role in pg_url",
    ),
    _Explanation(
        asyncpg.LockNotAvailableError,
        "waited longer than pg_timeout for a lock at {place}",
        "another run is still building; raise pg_timeout if that is expected",
    ),
    _Explanation(
        asyncpg.ProtocolViolationError,
        "the server at {place} refused the connection: {error}",
        "if it is PgBouncer: add the parameters of pg_url to ignore_startup_parameters, and an"
        " entry * to [databases], for the databases that the plugin creates",
    ),
    _Explanation(
        asyncpg.TargetServerAttributeNotMatched,
        "the server at {place} does not match target_session_attrs: {error}",
        "change target_session_attrs in pg_url, or name another server",
    ),
    _Explanation(
        TimeoutError,
        "the server at {place} did not answer in time",
        "check host and port in pg_url, or raise pg_timeout",
    ),
    _Explanation(
        ssl.SSLError,
        "TLS with the server at {place} failed: {error}",
        "check sslmode, sslrootcert, sslcert, sslkey and the host name in pg_url",
    ),
    # asyncpg rejects the URL. Without {error}: its text may contain the password.
    _Explanation(
        ValueError,
        "the URL of the server at {place} cannot be used",
        "write pg_url as postgresql+asyncpg://user:password@host:5432/postgres",
    ),
    *(
        _Explanation(
            kind,
            "cannot connect to the server at {place}: {error}",
            "check that it runs, and host and port in pg_url; without pg_url, the plugin uses the"
            " embedded server",
        )
        for kind in (OSError, asyncpg.InterfaceError)
    ),
)


def explain(error: BaseException, url: URL) -> ServerError:
    """Translate ``error`` of the server at ``url``. Raises ``error`` again if it is unknown."""
    if isinstance(error, _PREPARED_ELSEWHERE):
        return pooler_error(url)
    may_be_tls_file = isinstance(error, ValueError | OSError) and not isinstance(
        error, TimeoutError | ssl.SSLError
    )
    if may_be_tls_file and (file := _unreadable_tls_file(url)):
        return ServerError(
            f"TLS with the server at {server_place(url)} needs {file}, which cannot be read",
            hint="in pg_url, set sslrootcert (and sslcert, sslkey) to files on this machine",
        )
    for kind, message, hint in _EXPLANATIONS:
        if isinstance(error, kind):
            fields = {"place": server_place(url), "role": url.username, "error": error}
            return ServerError(message.format(**fields), hint=hint + _variables_hint(kind, url))
    if isinstance(error, asyncpg.PostgresError):
        return ServerError(
            f"the server at {server_place(url)} answered {error.sqlstate}: {error.args[0]}",
            hint=_HINTS.get(type(error)) or error.hint or "see the log of the server",
        )
    raise error


def _variables_hint(kind: type[BaseException], url: URL) -> str:
    """Name the variables that may be the reason for an error before the session is open."""
    names = libpq_variables.applicable_names(url)
    if not names or kind is asyncpg.LockNotAvailableError:
        return ""
    return f"; these environment variables apply, too: {', '.join(names)}"


def pooler_error(url: URL) -> ServerError:
    return ServerError(
        f"the pooler at {server_place(url)} assigns a server session per transaction; the plugin"
        " needs a session of its own, for the advisory locks that mark a database as in use",
        hint="set pg_url to the server itself, or to a pooler in session mode (PgBouncer: pool_mode"
        " = session)",
    )


def server_place(url: URL) -> str:
    """Return ``host:port`` for messages; never a password."""
    host = url.host or url.query.get("host") or "the default socket"
    port = url.port or url.query.get("port") or 5432
    return f"{host}:{port}"


def _unreadable_tls_file(url: URL) -> str:
    """Return the first TLS file that is missing or unreadable, or an empty string."""
    query = _urls.for_driver(url, None).query
    files = [str(query[name]) for name in ("sslrootcert", "sslcert", "sslkey") if name in query]
    if query.get("sslmode") in ("verify-ca", "verify-full") and "sslrootcert" not in query:
        files.append(str(Path.home() / ".postgresql/root.crt"))  # libpq's default
    return next((file for file in files if not os.access(file, os.R_OK)), "")
