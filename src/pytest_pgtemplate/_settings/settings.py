"""What the options come to: command line, then environment, then ini, then default."""

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
    """What the user asked for, and where this process stands in the run."""

    root: Path  # of the project
    urls: tuple[str, ...]  # empty: the embedded server
    alembic_config: Path | None  # None: a further database that is not said to have one
    revision: str
    check_since: str | None
    check_heads: int
    databases: Mapping[str, Mapping[str, Any]]  # all these of each further one, by its name
    unreachable: tuple[str, ...]  # servers of several that do not answer, and are not in urls
    prefix: str
    env: Mapping[str, str]  # templates, by the variable's name
    autouse: bool
    fingerprint_files: tuple[Path, ...]
    timeout: float  # seconds
    bindir: Path | None
    version: int | None  # the major version that the embedded server shall have
    listen: bool  # whether it listens on 127.0.0.1, too
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
    records: bool  # what the run did and when
    run: str  # the same in every worker of a run
    worker: str  # "gw0", or "main" without xdist
    embedded_owner: str  # whose embedded server this worker shares; "": its own
    workers: int  # that the run began with

    def __repr__(self) -> str:
        return f"<settings of {self.worker} in run {self.run}>"  # urls may hold a password

    @property
    def url(self) -> str | None:
        """The server of this worker: workers are dealt out over the servers. None: embedded."""
        return self.urls[self._number % len(self.urls)] if self.urls else None

    def for_database(self, database: str) -> Settings:
        """The same for a further database: where it is, what builds it, and under which prefix."""
        if not database:
            return self
        prefix = database_names.prefix_of(f"{self.prefix}_{database}")
        return self._replace(prefix=prefix, **self.databases[database])

    @property
    def all_urls(self) -> tuple[str, ...]:
        """Of every database, each once."""
        return tuple(dict.fromkeys(chain.from_iterable(self.servers.values())))

    @property
    def servers(self) -> dict[str, tuple[str, ...]]:
        """The URLs of each database, by its name."""
        return {name: self.for_database(name).urls for name in ("", *self.databases)}

    @property
    def uses_embedded(self) -> bool:
        return not all(self.servers.values())

    @property
    def autouse_databases(self) -> list[str]:
        """Databases that each test gets by ``pg_autouse``: the application can reach no others."""
        if not self.autouse:
            return []
        from pytest_pgtemplate._urls import url_templates

        return ["", *url_templates.referenced_databases(self.env)]

    @property
    def embedded(self) -> tuple[Path | None, int | None, bool]:
        """Which embedded server: what ``_embedded`` wants to know of it."""
        return self.bindir, self.version, self.listen

    @property
    def sweeps(self) -> bool:
        """Whether this worker sweeps its server: one does, for each server of a run."""
        return self._number < max(1, len(self.urls))

    def refuse_other_host(self) -> None:
        """Raise ConfigurationError in a worker whose embedded server is not its controller's."""
        if self.embedded_owner and self.embedded_owner != worker_input.embedded_server_owner(
            self.cache
        ):
            raise ConfigurationError(
                f"worker {self.worker} runs on {platform.node()}, where the embedded server is not"
                " that of the run",
                hint=f"name a server that all hosts reach in {database_options.ENV_URL} or pg_url,"
                " where pytest is started: its workers receive it",
            )

    @property
    def peers(self) -> list[str]:
        """The other workers that the run began with on this server."""
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
        """Where the workers of this run meet, while it lasts."""
        return self.cache / "runs" / self.run


def cache() -> Path:
    """Where runs of this user meet: locks, and what was reported. Stable, unlike basetemp."""
    from platformdirs import user_cache_path

    return user_cache_path("pytest-pgtemplate", appauthor=False)


def for_workers(settings: Settings) -> worker_input.WorkerInput:
    """What the workers of this run have to know."""
    owner = worker_input.embedded_server_owner(settings.cache) if settings.uses_embedded else ""
    return worker_input.WorkerInput(settings.run, "", settings.prefix, settings.servers, owner)


def wants_environment(config: pytest.Config) -> bool:
    """Whether there is something to set before conftests are imported."""
    worker_input.read_worker_input(config)  # what they start is no worker
    return bool(options.from_ini(config, "pg_env"))


def read(config: pytest.Config) -> Settings:
    """Read and check every option. Raises pytest.UsageError for a value that cannot be used.

    The same before and after conftests are imported.
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
    """Whoever asks for a URL, host or port may know no sockets."""
    listen: bool | None = options.from_ini(config, "pg_listen")
    if listen is not None or not templates:
        return bool(listen)
    from pytest_pgtemplate._urls import url_templates

    return any(map(url_templates.needs_tcp, templates.values()))


def _prefix(config: pytest.Config) -> str:
    return database_names.prefix_of(options.get(config, "pg_name") or config.rootpath.name)


def _lineage(config: pytest.Config, database: str) -> dict[str, Any]:
    """What a database's options say of its migrations."""
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
    for pattern in options.from_ini(config, "pg_fingerprint_files") or ():
        try:
            matches = sorted(
                path for path in options.ini_directory(config).glob(pattern) if path.is_file()
            )
        except NotImplementedError as error:  # an absolute one
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
