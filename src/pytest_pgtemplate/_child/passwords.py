"""Pass passwords to a client program of PostgreSQL: every user can read its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls

_SERVICE = "pgtemplate"


@contextmanager
def password_environment(url: URL) -> Iterator[dict[str, str]]:
    """Give the variables with the passwords that ``_urls.dsn_without_passwords(url)`` lacks.

    libpq reads the passphrase of a key from no variable, but from a file of connection services,
    which is deleted afterwards. Only this user can read it.
    """
    env = {"PGPASSWORD": str(url.password)} if url.password else {}
    passphrase = _urls.libpq_query(url).get("sslpassword")
    if passphrase is None:
        yield env
        return
    with NamedTemporaryFile("w", encoding="utf-8", prefix="pgtemplate") as file:
        file.write(f"[{_SERVICE}]\nsslpassword={passphrase}\n")
        file.flush()
        yield {**env, "PGSERVICE": _SERVICE, "PGSERVICEFILE": file.name}
