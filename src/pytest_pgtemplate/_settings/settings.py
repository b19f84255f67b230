"""Resolve every setting: command line, then environment, then ini file, then default."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pytest_pgtemplate._settings import database_options, options, worker_input
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError

LONGEST = 2_000_000.0  # seconds: PostgreSQL counts milliseconds in 31 bits


class Settings(NamedTuple):
    """The resolved settings of one run, and the role of this process in it."""

    root: Path  # of the project
    urls: tuple[str, ...]  # empty: the embedded server
    alembic_config: Path | None  # None: a further database without pg_alembic_ini_<name>
    revision: str
    check_since: str | None
    check_heads: int
    databases: Mapping[str, Mapping[str, Any]]  # name -> fields of a further database
    unreachable: tuple[str, ...]  # configured servers that do not answer; not in urls
    prefix: str
    env: Mapping[str, str]  # variable -> template
    autouse: bool
    fingerprint_files: tuple[Path, ...]
    timeout: float  # seconds
    bindir: Path | None
    version: int | None  # major version of the embedded server
    listen: bool  # whether the embedded server also listens on 127.0.0.1
    isolation: str
    scope: str
    on_leak: str
    on_ddl: str
    tracking: str
    check: bool
    check_only: bool
    rebuild: bool
    keep: bool
    keep_failed: bool
    stats: bool
    log_sql: bool
    records: bool  # record the timeline of the run
    run: str  # the same id in every worker of a run
    worker: str  # "gw0", or "main" without xdist
    embedded_owner: str  # embedded_server_owner() of the controller; "": no embedded server
    workers: int  # number of workers at the start of the run

    def __repr__(self) -> str:
        return f"<settings of {self.worker} in run {self.run}>"  # urls may contain a password

    @property
    def url(self) -> str | None:
        """The server of this worker, round robin over ``urls``. None: the embedded server."""
        return self.urls[self._number % len(self.urls)] if self.urls else None

    def for_database(self, database: str) -> Settings:
        """Return the settings of a further database: its URLs, migrations and prefix."""
        if not database:
            return self
        prefix = database_names.prefix_of(f"{self.prefix}_{database}")
        return self._replace(prefix=prefix, **self.databases[database])

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The URLs of all databases, without duplicates."""
        return tuple(dict.fromkeys(chain.from_iterable(self.servers.values())))

    @property
    def servers(self) -> dict[str, tuple[str, ...]]:
        """The URLs of each database, by name."""
        return {name: self.for_database(name).urls for name in ("", *self.databases)}

    @property
    def uses_embedded(self) -> bool:
        return not all(self.servers.values())

    @property
    def autouse_databases(self) -> list[str]:
        """The databases that ``pg_autouse`` isolates: those that ``pg_env`` gives to the tests."""
        if not self.autouse:
            return []
        from pytest_pgtemplate._urls import url_templates

        return ["", *url_templates.referenced_databases(self.env)]

    @property
    def embedded(self) -> tuple[Path | None, int | None, bool]:
        """The parameters of ``_embedded.acquire``: bindir, major version, listen."""
        return self.bindir, self.version, self.listen

    @property
    def sweeps(self) -> bool:
        """Whether this worker sweeps its server: one worker per server does."""
        return self._number < max(1, len(self.urls))

    def refuse_other_host(self) -> None:
        """Raise ConfigurationError if this worker cannot use the controller's embedded server."""
        if self.embedded_owner and self.embedded_owner != worker_input.embedded_server_owner(
            self.cache
        ):
            raise ConfigurationError(
                f"worker {self.worker} runs on {platform.node()} and cannot use the embedded server"
                " of the host that started the run",
                hint=f"set {database_options.ENV_URL} or pg_url, on the host that starts the run,"
                " to a server that all hosts can reach; the workers receive it",
            )

    @property
    def peers(self) -> list[str]:
        """The other workers that use this server since the start of the run."""
        step = max(1, len(self.urls))
        numbers = range(self._number % step, self.workers, step)
        return [f"gw{number}" for number in numbers if number != self._number]

    @property
    def _number(self) -> int:
        return int(self.worker.removeprefix("gw")) if self.worker != "main" else 0

    @property
    def cache(self) -> Path:
        return cache()

    @property
    def directory(self) -> Path:
        """The directory that all workers of this run share; removed at its end."""
        return self.cache / "runs" / self.run


def cache() -> Path:
    """Return the directory that all runs of this user share, for locks and the embedded server.

    pytest's basetemp cannot serve: it changes with every run.
    """
    from platformdirs import user_cache_path

    return user_cache_path("pytest-pgtemplate", appauthor=False)


def for_workers(settings: Settings) -> worker_input.WorkerInput:
    """Return what the controller sends to its workers."""
    owner = worker_input.embedded_server_owner(settings.cache) if settings.uses_embedded else ""
    return worker_input.WorkerInput(settings.run, "", settings.prefix, settings.servers, owner)


def wants_environment(config: pytest.Config) -> bool:
    """Whether ``pg_env`` has variables to set before pytest imports the conftests."""
    worker_input.read_worker_input(config)  # removes it from the environment of child processes
    return bool(options.from_ini(config, "pg_env"))


def read(config: pytest.Config) -> Settings:
    """Read and check every option. Raises pytest.UsageError for an invalid value.

    The result is the same before and after pytest imports the conftests.
    """
    given = worker_input.read_worker_input(config)
    servers, unreachable = database_options.servers(config)
    of_each = {name: {"urls": urls, **_lineage(config, name)} for name, urls in servers.items()}
    main = of_each.pop("")
    templates = _templates(config, list(of_each))
    only = options.from_command_line(config, "pg_check_only")
    check = (
        only
        or options.from_command_line(config, "pg_check")
        or bool(options.from_ini(config, "pg_check"))
    )
    if check:
        _has_something_to_check(main, *of_each.values())
    return Settings(
        root=config.rootpath,
        **main,
        databases=of_each,
        unreachable=unreachable,
        prefix=given.prefix or _prefix(config),
        env=templates,
        autouse=bool(options.from_ini(config, "pg_autouse")),
        fingerprint_files=tuple(_files(config)),
        timeout=_timeout(config),
        bindir=options.path(config, "pg_bindir"),
        version=options.from_ini(config, "pg_version"),
        listen=_listen(config, templates),
        isolation=options.choice(config, "pg_isolation"),
        scope=options.choice(config, "pg_scope"),
        on_leak=options.choice(config, "pg_on_leak"),
        on_ddl=options.choice(config, "pg_on_ddl"),
        tracking=options.choice(config, "pg_tracking"),
        check=check,
        check_only=only,
        rebuild=options.from_command_line(config, "pg_rebuild"),
        keep=options.from_command_line(config, "pg_keep"),
        keep_failed=options.from_command_line(config, "pg_keep_failed"),
        stats=options.from_command_line(config, "pg_stats"),
        log_sql=options.from_command_line(config, "pg_log_sql") is not None,
        records=any(
            options.from_command_line(config, name)
            for name in ("pg_stats", "pg_report", "pg_trace")
        ),
        run=given.run,
        worker=given.worker,
        embedded_owner=given.embedded_owner,
        workers=getattr(config, "workerinput", {}).get("workercount", 1),
    )


def _templates(config: pytest.Config, databases: list[str]) -> dict[str, str]:
    entries = options.from_ini(config, "pg_env")
    if not entries:
        return {}
    from pytest_pgtemplate._urls import url_templates

    try:
        return url_templates.parse_entries(entries, databases)
    except ValueError as error:
        raise pytest.UsageError(f"pg_env: {error}") from None


def _listen(config: pytest.Config, templates: dict[str, str]) -> bool:
    """Listen if a variable contains a URL, host or port: its reader may not support sockets."""
    listen: bool | None = options.from_ini(config, "pg_listen")
    if listen is not None or not templates:
        return bool(listen)
    from pytest_pgtemplate._urls import url_templates

    return any(map(url_templates.needs_tcp, templates.values()))


def _prefix(config: pytest.Config) -> str:
    return database_names.prefix_of(options.get(config, "pg_name") or config.rootpath.name)


def _lineage(config: pytest.Config, database: str) -> dict[str, Any]:
    """Return the fields of ``Settings`` that describe the migrations of a database."""
    option = partial(options.option_name, database=database)
    path = options.path(config, option("pg_alembic_ini"))
    if path and not path.is_file():
        raise pytest.UsageError(f"{option('pg_alembic_ini')}: there is no file {path}")
    return {
        "alembic_config": path or (None if database else _default_alembic_config(config.rootpath)),
        "revision": options.get(config, option("pg_revision")) or "heads",
        "check_since": options.from_ini(config, option("pg_check_since")) or None,
        "check_heads": options.from_ini(config, option("pg_check_heads")) or 1,
    }


def _has_something_to_check(main: dict[str, Any], *further: dict[str, Any]) -> None:
    path: Path = main["alembic_config"]
    if not path.is_file() and not any(each["alembic_config"] for each in further):
        raise pytest.UsageError(f"pg_check: there is no file {path}")


def _default_alembic_config(root: Path) -> Path:
    """alembic.ini in the rootdir, else its pyproject.toml if it contains [tool.alembic]."""
    ini, pyproject = root / "alembic.ini", root / "pyproject.toml"
    if (
        not ini.is_file()
        and pyproject.is_file()
        and "[tool.alembic]" in pyproject.read_text("utf-8")
    ):
        return pyproject
    return ini


def _files(config: pytest.Config) -> list[Path]:
    """Expand ``pg_fingerprint_files``. Raises UsageError for a glob without a match."""
    found: list[Path] = []
    for pattern in options.from_ini(config, "pg_fingerprint_files") or ():
        try:
            matches = sorted(
                path for path in options.ini_directory(config).glob(pattern) if path.is_file()
            )
        except NotImplementedError as error:  # raised for an absolute pattern
            raise pytest.UsageError(f"pg_fingerprint_files: {pattern!r}: {error}") from None
        if not matches:
            raise pytest.UsageError(f"pg_fingerprint_files: nothing matches {pattern!r}")
        found += matches
    return found


def _timeout(config: pytest.Config) -> float:
    value = options.get(config, "pg_timeout")
    try:
        seconds = 300.0 if value is None else float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise pytest.UsageError(f"pg_timeout: {value!r} is not a number of seconds above 0")
    return min(seconds, LONGEST)
