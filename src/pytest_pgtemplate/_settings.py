"""Options, read once: command line, then environment, then ini, then default.

The one place that raises ``pytest.UsageError``. ``None`` means unset.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_pgtemplate import _address, _env, _names

ENV_URL = "PGTEMPLATE_URL"
LONGEST = 2_000_000.0  # seconds: PostgreSQL counts milliseconds in 31 bits
ENV_TOLD = "PGTEMPLATE_TOLD"  # what the controller tells a worker

KINDS = ("truncate", "rollback", "clone", "none")
SCOPES = ("function", "class", "module", "session")
_CHOICES = {
    "pg_isolation": KINDS,
    "pg_scope": SCOPES,
    "pg_on_leak": ("error", "warn"),
    "pg_on_ddl": ("reclone", "error"),
    "pg_tracking": ("auto", "triggers", "scan"),
}  # the first is the default


class Settings(NamedTuple):
    """What the user asked for, and where this process stands in the run."""

    urls: tuple[str, ...]  # empty: the embedded server
    alembic_config: Path
    revision: str
    prefix: str
    env: Mapping[str, str]  # templates, by the variable's name
    autouse: bool
    fingerprint_files: tuple[Path, ...]
    timeout: float  # seconds
    bindir: Path | None
    isolation: str
    scope: str
    on_leak: str
    on_ddl: str
    tracking: str
    rebuild: bool
    keep: bool
    keep_failed: bool
    stats: bool
    run: str  # the same in every worker of a run
    worker: str  # "gw0", or "main" without xdist

    def __repr__(self) -> str:
        return f"<settings of {self.worker} in run {self.run}>"  # urls may hold a password

    @property
    def url(self) -> str | None:
        """The server of this worker: workers are dealt out over the servers. None: embedded."""
        return self.urls[self._number % len(self.urls)] if self.urls else None

    @property
    def sweeps(self) -> bool:
        """Whether this worker sweeps its server: one does, for each server of a run."""
        return self._number < max(1, len(self.urls))

    @property
    def _number(self) -> int:
        return int(self.worker.removeprefix("gw")) if self.worker != "main" else 0

    @property
    def cache(self) -> Path:
        """Where runs of this user meet: locks, and what was reported. Stable, unlike basetemp."""
        from platformdirs import user_cache_path

        return user_cache_path("pytest-pgtemplate", appauthor=False)


_INI = (
    ("pg_url", "string", "server URL(s), separated by white space; default: the embedded server"),
    ("pg_alembic_ini", "string", "alembic.ini, or a pyproject.toml with [tool.alembic]"),
    ("pg_revision", "string", "revision to migrate to (default: heads)"),
    ("pg_name", "string", "prefix of every database name (default: the rootdir's name)"),
    ("pg_env", "args", "environment variables that tell the URL, or parts of it: NAME={host}"),
    ("pg_autouse", "bool", "isolate every test, whatever fixtures it uses"),
    ("pg_fingerprint_files", "args", "more files (globs) that can change the schema"),
    ("pg_timeout", "float", "seconds for locks, migrations and server start (default: 300)"),
    ("pg_bindir", "string", "PostgreSQL binaries for the embedded server"),
    ("pg_isolation", "string", "truncate, rollback, clone or none (default: truncate)"),
    ("pg_scope", "string", "isolate after each function, class, module or session"),
    ("pg_on_leak", "string", "a transaction left open: error or warn (default: error)"),
    ("pg_on_ddl", "string", "a changed schema: reclone or error (default: reclone)"),
    ("pg_tracking", "string", "how writes are noticed: auto, triggers or scan (default: auto)"),
)
_ON_COMMAND_LINE = (
    "pg_url",
    "pg_alembic_ini",
    "pg_name",
    "pg_timeout",
    "pg_bindir",
    "pg_isolation",
)
_FLAGS = (
    ("--pg-rebuild", "build the template anew"),
    ("--pg-keep", "leave this run's databases in place and print how to connect"),
    ("--pg-keep-failed", "put the database of each failed test aside and print how to connect"),
    ("--pg-stats", "print a line per worker at the end"),
)


def add_options(parser: pytest.Parser) -> None:
    group = parser.getgroup("pgtemplate", "PostgreSQL databases (pytest-pgtemplate)")
    for name, kind, text in _INI:
        parser.addini(name, text, type=kind, default=None)  # type: ignore[arg-type]
        if name in _ON_COMMAND_LINE:
            group.addoption(_flag(name), dest=name, default=None, help=text)
    for flag, text in _FLAGS:
        group.addoption(flag, action="store_true", default=False, help=text)


def for_worker(settings: Settings, worker: str) -> str:
    """What the controller tells a worker, wherever it is, in ENV_TOLD."""
    return json.dumps({"run": settings.run, "worker": worker})


def wants_environment(config: pytest.Config) -> bool:
    """Whether there is something to set before conftests are imported."""
    _told(config)  # what they start is no worker
    return bool(_ini(config, "pg_env"))


def read(config: pytest.Config) -> Settings:
    """Read and check every option. Raises pytest.UsageError for a value that cannot be used.

    The same before and after conftests are imported.
    """
    told = _told(config)
    return Settings(
        urls=_urls(config),
        alembic_config=_alembic_config(config),
        revision=_get(config, "pg_revision") or "heads",
        prefix=_names.prefix_of(_get(config, "pg_name") or config.rootpath.name),
        env=_templates(config),
        autouse=bool(_ini(config, "pg_autouse")),
        fingerprint_files=tuple(_files(config)),
        timeout=_timeout(config),
        bindir=_path(config, "pg_bindir"),
        isolation=_choice(config, "pg_isolation"),
        scope=_choice(config, "pg_scope"),
        on_leak=_choice(config, "pg_on_leak"),
        on_ddl=_choice(config, "pg_on_ddl"),
        tracking=_choice(config, "pg_tracking"),
        rebuild=_given(config, "pg_rebuild"),
        keep=_given(config, "pg_keep"),
        keep_failed=_given(config, "pg_keep_failed"),
        stats=_given(config, "pg_stats"),
        run=told["run"],
        worker=told["worker"],
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _told(config: pytest.Config) -> dict[str, Any]:
    """What the controller told this worker; a process that is none makes it up.

    It is taken out of the environment: a run of pytest that a test starts is no worker.
    """
    if _TOLD not in config.stash:
        told = os.environ.pop(ENV_TOLD, None)
        alone = {"run": os.urandom(4).hex(), "worker": "main"}
        config.stash[_TOLD] = json.loads(told) if told else alone
    return config.stash[_TOLD]


_TOLD = pytest.StashKey[dict[str, Any]]()


def _given(config: pytest.Config, name: str) -> Any:
    """What the command line says, which is known before conftests are imported."""
    return getattr(config.known_args_namespace, name)


def _get(config: pytest.Config, name: str) -> str | None:
    """Command line > ini. An empty value on the command line switches an ini value off."""
    given: str | None = _given(config, name) if name in _ON_COMMAND_LINE else None
    return given if given is not None else _ini(config, name)


def _choice(config: pytest.Config, name: str) -> str:
    valid = _CHOICES[name]
    value = _get(config, name) or valid[0]
    if value not in valid:
        raise pytest.UsageError(f"{name}: {value!r} is not one of {', '.join(valid)}")
    return value


def _ini(config: pytest.Config, name: str) -> Any:
    try:
        return config.getini(name)
    except (TypeError, ValueError, pytest.UsageError) as error:  # pytest 9 raises the last one
        raise pytest.UsageError(f"{name}: {error}") from None


def _urls(config: pytest.Config) -> tuple[str, ...]:
    given: str | None = _given(config, "pg_url")
    if given is None:
        given = os.environ.get(ENV_URL)
    if given is None:
        given = _ini(config, "pg_url")
    urls = tuple((given or "").split())
    for url in urls:
        try:
            _address.parse(url)
        except ValueError as error:
            raise pytest.UsageError(
                f"pg_url is {error}: write it as"
                " postgresql+asyncpg://user:password@host:5432/postgres"
            ) from None
    return urls


def _templates(config: pytest.Config) -> dict[str, str]:
    try:
        return _env.read(_ini(config, "pg_env") or ())
    except ValueError as error:
        raise pytest.UsageError(f"pg_env: {error}") from None


def _path(config: pytest.Config, name: str) -> Path | None:
    """Resolve against the invocation directory (command line) or the ini file's (ini)."""
    given = _given(config, name)
    if given is not None:
        return config.invocation_params.dir / given if given else None
    value = _ini(config, name)
    return _ini_directory(config) / value if value else None


def _alembic_config(config: pytest.Config) -> Path:
    path = _path(config, "pg_alembic_ini")
    if path is None:
        return _default_alembic_config(config.rootpath)
    if not path.is_file():
        raise pytest.UsageError(f"pg_alembic_ini: there is no file {path}")
    return path


def _default_alembic_config(root: Path) -> Path:
    """alembic.ini in the rootdir, else its pyproject.toml if that speaks of Alembic."""
    ini, pyproject = root / "alembic.ini", root / "pyproject.toml"
    if (
        not ini.is_file()
        and pyproject.is_file()
        and "[tool.alembic]" in pyproject.read_text("utf-8")
    ):
        return pyproject
    return ini


def _files(config: pytest.Config) -> list[Path]:
    """Expand ``pg_fingerprint_files``; a glob that matches nothing is a typing mistake."""
    found: list[Path] = []
    for pattern in _ini(config, "pg_fingerprint_files") or ():
        try:
            matches = sorted(
                path for path in _ini_directory(config).glob(pattern) if path.is_file()
            )
        except NotImplementedError as error:  # an absolute one
            raise pytest.UsageError(f"pg_fingerprint_files: {pattern!r}: {error}") from None
        if not matches:
            raise pytest.UsageError(f"pg_fingerprint_files: nothing matches {pattern!r}")
        found += matches
    return found


def _timeout(config: pytest.Config) -> float:
    value = _get(config, "pg_timeout")
    try:
        seconds = 300.0 if value is None else float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise pytest.UsageError(f"pg_timeout: {value!r} is not a number of seconds above 0")
    return min(seconds, LONGEST)


def _ini_directory(config: pytest.Config) -> Path:
    return config.inipath.parent if config.inipath is not None else config.rootpath
