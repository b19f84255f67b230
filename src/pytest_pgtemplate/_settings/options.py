"""Declare the options, and read them from the command line and the configuration file.

Invalid values raise ``pytest.UsageError``. ``None`` means unset.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest

from pytest_pgtemplate._internals.pytest import command_line_value

KINDS = ("truncate", "rollback", "clone", "none")
SCOPES = ("function", "class", "module", "session")
_CHOICES = {
    "pg_isolation": KINDS,
    "pg_scope": SCOPES,
    "pg_on_leak": ("error", "warn"),
    "pg_on_ddl": ("reclone", "error"),
    "pg_driver": ("asyncpg", "psycopg", "psycopg2", "pg8000"),
    "pg_tracking": ("auto", "triggers", "scan"),
}  # the first is the default
_INI = (
    ("pg_url", "string", "server URL(s), separated by white space; default: the embedded server"),
    ("pg_alembic_ini", "string", "alembic.ini, or a pyproject.toml with [tool.alembic]"),
    ("pg_revision", "string", "revision to migrate to (default: heads)"),
    ("pg_name", "string", "prefix of every database name (default: the rootdir's name)"),
    ("pg_env", "args", "environment variables to set to the URL, or to parts of it: NAME={host}"),
    ("pg_bind", "args", "the application's sessionmakers or engines: myapp.db:SessionLocal"),
    ("pg_databases", "args", "names of further databases, for example: orders billing"),
    ("pg_autouse", "bool", "isolate every test, also tests without a pg fixture"),
    ("pg_fingerprint_files", "args", "globs of further files that determine the schema"),
    ("pg_timeout", "float", "seconds for locks, migrations and server start (default: 300)"),
    ("pg_bindir", "string", "PostgreSQL binaries for the embedded server"),
    ("pg_version", "int", "major version of the embedded server (default: the first found)"),
    ("pg_driver", "string", "driver in the embedded server's URL (default: asyncpg)"),
    ("pg_listen", "bool", "let the embedded server also listen on 127.0.0.1, with a password"),
    ("pg_isolation", "string", "truncate, rollback, clone or none (default: truncate)"),
    ("pg_scope", "string", "reset after each function (default), class, module or session"),
    ("pg_on_leak", "string", "if a test leaves a transaction open: error or warn (default: error)"),
    ("pg_on_ddl", "string", "if a test changes the schema: reclone or error (default: reclone)"),
    ("pg_tracking", "string", "how to detect writes: auto, triggers or scan (default: auto)"),
    ("pg_verify", "bool", "compare the whole database with its expected state after each test"),
    ("pg_check", "bool", "also test the migrations, as items of the run"),
    ("pg_check_since", "string", "oldest revision whose downgrade is tested"),
    (
        "pg_check_column_order",
        "bool",
        "a downgrade must restore the order of columns (default: true)",
    ),
    ("pg_check_heads", "int", "expected number of heads of the migrations (default: 1)"),
)
_PER_DATABASE = ("pg_url", "pg_alembic_ini", "pg_revision", "pg_check_since", "pg_check_heads")
_ON_COMMAND_LINE = (
    "pg_url",
    "pg_alembic_ini",
    "pg_name",
    "pg_timeout",
    "pg_bindir",
    "pg_isolation",
)
_FLAGS = (
    ("--pg-verify", "compare the whole database with its expected state after each test"),
    ("--pg-check", "also test the migrations, as items of the run"),
    ("--pg-rebuild", "rebuild the template"),
    ("--pg-keep", "keep this run's databases and print how to connect"),
    ("--pg-keep-failed", "keep the database of each failed test and print how to connect"),
    ("--pg-stats", "print the long summary"),
)
_FILES = (
    ("--pg-report", "write an HTML report with a timeline of the run"),
    ("--pg-trace", "write the timeline of the run as Trace Events (Perfetto)"),
)


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgtemplate", "PostgreSQL databases (pytest-pgtemplate)")
    for name, kind, text in _INI:
        parser.addini(name, text, type=kind, default=None)  # type: ignore[arg-type]
        if name in _ON_COMMAND_LINE:
            group.addoption(_flag(name), dest=name, default=None, help=text)
    for flag, text in _FLAGS:
        group.addoption(flag, action="store_true", default=False, help=text)
    # `pgtemplate check` passes this one.
    group.addoption("--pg-check-only", action="store_true", help=argparse.SUPPRESS)
    text = "show the SQL that each failed test sent"
    group.addoption("--pg-log-sql", choices=("failed",), help=text)
    for flag, text in _FILES:
        group.addoption(flag, metavar="FILE", default=None, help=text)


def add_databases(parser: pytest.Parser, databases: Iterable[str]) -> None:
    """Declare the options of further databases, as soon as ``pg_databases`` is known."""
    kinds = {name: kind for name, kind, _ in _INI}
    for database, name in product(databases, _PER_DATABASE):
        option, text = option_name(name, database), f"{name} of the database {database}"
        parser.addini(option, text, type=kinds[name], default=None)  # type: ignore[arg-type]


def option_name(name: str, database: str) -> str:
    """Return the name of an option for a database (``""``: the main database)."""
    return f"{name}_{database}" if database else name


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def sources(config: pytest.Config, databases: Iterable[str]) -> dict[str, str]:
    """Return the source of each option that is set: a flag or the name of a file."""
    found: dict[str, str] = {}
    per_database = (option_name(name, db) for db, name in product(databases, _PER_DATABASE))
    for name in chain((name for name, *_ in _INI), per_database):
        if name in _ON_COMMAND_LINE and from_command_line(config, name) is not None:
            found[name] = _flag(name)
        elif from_ini(config, name) is not None and config.inipath is not None:
            found[name] = config.inipath.name
    return found


def from_command_line(config: pytest.Config, name: str) -> Any:
    """Return an option of the command line, also before pytest imports any conftest.py."""
    return command_line_value(config, name)


def get(config: pytest.Config, name: str) -> str | None:
    """Return an option: command line, then ini file. An empty flag unsets the ini value."""
    given: str | None = from_command_line(config, name)
    return given if given is not None else from_ini(config, name)


def is_on(config: pytest.Config, name: str) -> bool:
    """Whether a flag is set on the command line or in the ini file."""
    return bool(from_command_line(config, name) or from_ini(config, name))


def choice(config: pytest.Config, name: str) -> str:
    """Return an option with a fixed set of values. Raises UsageError for any other value."""
    valid = _CHOICES[name]
    value = get(config, name) or valid[0]
    if value not in valid:
        raise pytest.UsageError(f"{name}: {value!r} is not one of {', '.join(valid)}")
    return value


def isolation(config: pytest.Config) -> dict[str, str]:
    """Return ``pg_isolation`` and ``pg_scope``. Raises UsageError if they exclude each other."""
    kind, scope = choice(config, "pg_isolation"), choice(config, "pg_scope")
    if kind == "rollback" and scope != "function":
        raise pytest.UsageError(f"pg_isolation = rollback ends with each test, not with a {scope}")
    return {"kind": kind, "scope": scope}


def installed_driver(config: pytest.Config) -> str:
    """Return ``pg_driver``. Raises UsageError for a driver that is not installed."""
    driver = choice(config, "pg_driver")
    if from_ini(config, "pg_driver") and find_spec(driver) is None:
        raise pytest.UsageError(f"pg_driver: {driver} is not installed")
    return driver


def from_ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # pytest 9 raises the last one
        raise pytest.UsageError(f"{name}: {error}") from None


def path(config: pytest.Config, name: str) -> Path | None:
    """Resolve a path: relative to the invocation directory (command line) or to the ini file."""
    given = from_command_line(config, name)
    if given is not None:
        return _join(config.invocation_params.dir, given) if given else None
    value = from_ini(config, name)
    return _join(ini_directory(config), value) if value else None


def _join(directory: Path, path: str) -> Path:
    """Join without ``..``, as pytest does with the files that it collects."""
    return Path(os.path.normpath(directory / path))


def ini_directory(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath is not None else config.rootpath
