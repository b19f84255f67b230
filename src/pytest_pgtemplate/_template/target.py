"""The database to migrate, and the error if that fails."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from pytest_pgtemplate import _child
from pytest_pgtemplate._urls import redaction
from pytest_pgtemplate.errors import MigrationError

APPLICATION = "pytest-pgtemplate migrations"  # of the connections that migrate
MEND = (
    "correct the migration and run again. The plugin removes the incomplete template, but not"
    " objects outside of the database, such as roles"
)


@dataclass(frozen=True)
class Target:
    """The database to migrate. It is empty, except for the revisions ``applied``."""

    url: URL
    timeout: float  # seconds
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    applied: frozenset[str] = frozenset()  # revisions that the database already holds
    progress: Path | None = None  # the file for progress reports
    revisions_cache: Path | None = None  # the directory for Alembic's lists of revisions
    bindir: Path | None = None  # the directory in which PostgreSQL's programs are searched first


def raise_if_failed(
    result: _child.ChildResult, name: str, timeout: float, url: URL | None = None
) -> str | None:
    """Raise MigrationError if the child that ran ``name`` failed; return what has run.

    The message does not contain the password of ``url``.
    """
    output = (redact_password(result.output, url) if url else result.output).rstrip()
    if result.code == 0:
        return _last_message(result.output, "ran").get("ran")
    if result.code is None:
        raise timeout_error(name, timeout, output)
    if result.code == _child.REPORTED_ERROR:
        error = _last_message(result.output, "message", "hint")
        if error:
            raise MigrationError(**error)
    message = _last_message(result.output, "hint")
    if message:
        output = output.rpartition("\n")[0].rstrip()
    raise MigrationError(
        f"{name} failed (exit code {result.code}):\n{output}", hint=message.get("hint") or MEND
    )


def _last_message(output: str, *keys: str) -> dict[str, str]:
    """Return the JSON object in the last line if it has exactly these keys, else nothing."""
    try:
        message: Any = json.loads(output.rstrip().rpartition("\n")[2])
    except ValueError:
        return {}
    return message if isinstance(message, dict) and message.keys() == set(keys) else {}


def timeout_error(name: str, timeout: float, output: str = "") -> MigrationError:
    tail = f"; its last output:\n{output}" if output else ""
    return MigrationError(
        f"{name} took longer than pg_timeout = {timeout:g} s and was stopped{tail}",
        hint="raise pg_timeout (or --pg-timeout) if the migrations need that long",
    )


def redact_password(text: str, url: URL) -> str:
    """Hide the password of ``url``, and the one in PGPASSWORD, which a URL without one needs."""
    return redaction.redact(text, str(url.password or os.environ.get("PGPASSWORD", "")))
