"""The options: how each is declared, and read from command line and configuration file.

Here and in ``_settings`` alone is ``pytest.UsageError`` raised. ``None`` means unset.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest

KINDS = ("truncate", "rollback", "clone", "none")
SCOPES = ("function", "class", "module", "session")
_CHOICES = {
    "pg_isolation": KINDS,
    "pg_scope": SCOPES,
    "pg_on_leak": ("error", "warn"),
    "pg_on_ddl": ("reclone", "error"),
    "pg_tracking": ("auto", "triggers", "scan"),
}  # the first is the default
_INI = (
    ("pg_url", "string", "server URL(s), separated by white space; default: the embedded server"),
    ("pg_alembic_ini", "string", "alembic.ini, or a pyproject.toml with [tool.alembic]"),
    ("pg_revision", "string", "revision to migrate to (default: heads)"),
    ("pg_name", "string", "prefix of every database name (default: the rootdir's name)"),
    ("pg_env", "args", "environment variables that tell the URL, or parts of it: NAME={host}"),
    ("pg_databases", "args", "further databases, by names of one's own"),
    ("pg_autouse", "bool", "isolate every test, whatever fixtures it uses"),
    ("pg_fingerprint_files", "args", "more files (globs) that can change the schema"),
    ("pg_timeout", "float", "seconds for locks, migrations and server start (default: 300)"),
    ("pg_bindir", "string", "PostgreSQL binaries for the embedded server"),
    ("pg_version", "int", "major version of the embedded server (default: the first found)"),
    ("pg_listen", "bool", "the embedded server listens on 127.0.0.1, too, with a password"),
    ("pg_isolation", "string", "truncate, rollback, clone or none (default: truncate)"),
    ("pg_scope", "string", "isolate after each function, class, module or session"),
    ("pg_on_leak", "string", "a transaction left open: error or warn (default: error)"),
    ("pg_on_ddl", "string", "a changed schema: reclone or error (default: reclone)"),
    ("pg_tracking", "string", "how writes are noticed: auto, triggers or scan (default: auto)"),
    ("pg_check", "bool", "test the migrations, too, as items of the run"),
    ("pg_check_since", "string", "the revision below which no downgrade is asked for"),
    ("pg_check_heads", "int", "how many heads the migrations are to have (default: 1)"),
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
    ("--pg-check", "test the migrations, too, as items of the run"),
    ("--pg-rebuild", "build the template anew"),
    ("--pg-keep", "leave this run's databases in place and print how to connect"),
    ("--pg-keep-failed", "put the database of each failed test aside and print how to connect"),
    ("--pg-stats", "the long summary at the end"),
)
_FILES = (
    ("--pg-report", "write the run as a page with a timeline"),
    ("--pg-trace", "write the run as Trace Events, for Perfetto and the like"),
)


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgtemplate", "PostgreSQL databases (pytest-pgtemplate)")
    for name, kind, text in _INI:
        parser.addini(name, text, type=kind, default=None)  # type: ignore[arg-type]
        if name in _ON_COMMAND_LINE:
            group.addoption(_flag(name), dest=name, default=None, help=text)
    for flag, text in _FLAGS:
        group.addoption(flag, action="store_true", default=False, help=text)
    # What `pgtemplate check` asks for.
    group.addoption("--pg-check-only", action="store_true", help=argparse.SUPPRESS)
    group.addoption(
        *("--pg-log-sql",), choices=("failed",), help="a failing test shows the SQL that it sent"
    )
    for flag, text in _FILES:
        group.addoption(flag, metavar="FILE", default=None, help=text)


def add_databases(parser: pytest.Parser, databases: Iterable[str]) -> None:
    """Known once it is known which further databases there are."""
    kinds = {name: kind for name, kind, _ in _INI}
    for database, name in product(databases, _PER_DATABASE):
        option, text = option_name(name, database), f"{name} of the database {database}"
        parser.addini(option, text, type=kinds[name], default=None)  # type: ignore[arg-type]


def option_name(name: str, database: str) -> str:
    """What an option is called for a database; the main one has no name."""
    return f"{name}_{database}" if database else name


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def sources(config: pytest.Config, databases: Iterable[str]) -> dict[str, str]:
    """Where each option that is set has its value from: the command line, or a file."""
    found: dict[str, str] = {}
    theirs = (option_name(name, each) for each, name in product(databases, _PER_DATABASE))
    for name in chain((name for name, *_ in _INI), theirs):
        if name in _ON_COMMAND_LINE and from_command_line(config, name) is not None:
            found[name] = _flag(name)
        elif from_ini(config, name) is not None and config.inipath is not None:
            found[name] = config.inipath.name
    return found


def from_command_line(config: pytest.Config, name: str) -> Any:
    """What the command line says, which is known before conftests are imported."""
    return getattr(config.known_args_namespace, name, None)


def get(config: pytest.Config, name: str) -> str | None:
    """Command line > ini. An empty value on the command line switches an ini value off."""
    given: str | None = from_command_line(config, name)
    return given if given is not None else from_ini(config, name)


def choice(config: pytest.Config, name: str) -> str:
    valid = _CHOICES[name]
    value = get(config, name) or valid[0]
    if value not in valid:
        raise pytest.UsageError(f"{name}: {value!r} is not one of {', '.join(valid)}")
    return value


def from_ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # pytest 9 raises the last one
        raise pytest.UsageError(f"{name}: {error}") from None


def path(config: pytest.Config, name: str) -> Path | None:
    """Resolve against the invocation directory (command line) or the ini file's (ini)."""
    given = from_command_line(config, name)
    if given is not None:
        return config.invocation_params.dir / given if given else None
    value = from_ini(config, name)
    return ini_directory(config) / value if value else None


def ini_directory(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath is not None else config.rootpath
