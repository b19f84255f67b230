"""Resolve every setting: command line, then environment, then ini file, then default."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import pytest

from pytest_pgtemplate._settings import database_options, options, worker_input
from pytest_pgtemplate._settings.topics import (
    CheckSettings,
    DatabaseOptions,
    IsolationSettings,
    OutputSettings,
    RunIdentity,
    ServerSettings,
    TemplateSettings,
    Topic,
    cache,
)
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError

LONGEST = 2_000_000.0  # seconds: PostgreSQL counts milliseconds in 31 bits


class Settings(Topic):
    """The resolved settings of one run, by topic, and what follows from more than one topic."""

    identity: RunIdentity
    server: ServerSettings
    template: TemplateSettings
    check: CheckSettings
    isolation: IsolationSettings
    output: OutputSettings
    env: Mapping[str, str]  # pg_env: variable -> template
    bind: Mapping[str, tuple[str, ...]]  # pg_bind: database -> import paths
    databases: Mapping[str, DatabaseOptions]  # the further databases, by name

    @property
    def url(self) -> str | None:
        """The server of this worker, round robin over the URLs. None: the embedded server."""
        urls = self.server.urls
        return urls[self.identity.number % len(urls)] if urls else None

    def for_database(self, database: str) -> Settings:
        """Return the settings of a further database: its URLs, migrations and prefix."""
        if not database:
            return self
        given = self.databases[database]
        return self.replace(
            server=self.server.replace(urls=given.urls),
            template=self.template.replace(
                prefix=database_names.prefix_of(f"{self.template.prefix}_{database}"),
                alembic_config=given.alembic_config,
                revision=given.revision,
            ),
            check=self.check.replace(since=given.check_since, heads=given.check_heads),
        )

    @property
    def all_urls(self) -> tuple[str, ...]:
        """The URLs of all databases, without duplicates."""
        return tuple(dict.fromkeys(chain.from_iterable(self.servers.values())))

    @property
    def servers(self) -> dict[str, tuple[str, ...]]:
        """The URLs of each database, by name."""
        further = {name: given.urls for name, given in self.databases.items()}
        return {"": self.server.urls, **further}

    @property
    def uses_embedded(self) -> bool:
        return not all(self.servers.values())

    @property
    def autouse_databases(self) -> list[str]:
        """The databases that ``pg_autouse`` isolates: those that the application can reach."""
        if not self.isolation.autouse:
            return []
        from pytest_pgtemplate._urls import url_templates

        return list(dict.fromkeys(("", *url_templates.referenced_databases(self.env), *self.bind)))

    @property
    def sweeps(self) -> bool:
        """Whether this worker sweeps its server: one worker per server does."""
        return self.identity.number < max(1, len(self.server.urls))

    @property
    def peers(self) -> list[str]:
        """The other workers that use this server, among those of the start of the run."""
        step, number = max(1, len(self.server.urls)), self.identity.number
        numbers = range(number % step, self.identity.workers, step)
        return [f"gw{other}" for other in numbers if other != number]

    def refuse_other_host(self) -> None:
        """Raise ConfigurationError if this worker cannot use the controller's embedded server."""
        owner = self.identity.embedded_owner
        if owner and owner != worker_input.embedded_server_owner(cache()):
            raise ConfigurationError(
                f"worker {self.identity.worker} runs on {platform.node()} and cannot use the"
                " embedded server of the host that started the run",
                hint=f"set {database_options.ENV_URL} or pg_url, on the host that starts the run,"
                " to a server that all hosts can reach; the workers receive it",
            )


def for_workers(settings: Settings) -> worker_input.WorkerInput:
    """Return what the controller sends to its workers."""
    owner = worker_input.embedded_server_owner(cache()) if settings.uses_embedded else ""
    return worker_input.WorkerInput(
        run=settings.identity.run,
        prefix=settings.template.prefix,
        urls=settings.servers,
        embedded_owner=owner,
    )


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
    databases = {name: _database_options(config, name, urls) for name, urls in servers.items()}
    main = databases.pop("")
    templates = _templates(config, list(databases))
    check = _check_settings(config, main, databases.values())
    return Settings(
        identity=RunIdentity(
            root=config.rootpath,
            directories=(config.invocation_params.dir, config.rootpath),
            run=given.run,
            worker=given.worker,
            workers=getattr(config, "workerinput", {}).get("workercount", 1),
            embedded_owner=given.embedded_owner,
        ),
        server=ServerSettings(
            urls=main.urls,
            unreachable=unreachable,
            bindir=options.path(config, "pg_bindir"),
            version=options.from_ini(config, "pg_version"),
            driver=options.installed_driver(config),
            listen=_listen(config, templates),
            timeout=_timeout(config),
        ),
        template=TemplateSettings(
            prefix=given.prefix or _prefix(config),
            alembic_config=main.alembic_config,
            revision=main.revision,
            fingerprint_files=tuple(_files(config)),
            tracking=options.choice(config, "pg_tracking"),
            rebuild=options.from_command_line(config, "pg_rebuild"),
        ),
        check=check,
        isolation=_isolation_settings(config),
        output=_output_settings(config),
        env=templates,
        bind=_bind(config, databases),
        databases=databases,
    )


def _isolation_settings(config: pytest.Config) -> IsolationSettings:
    return IsolationSettings(
        **options.isolation(config),
        on_leak=options.choice(config, "pg_on_leak"),
        on_ddl=options.choice(config, "pg_on_ddl"),
        autouse=bool(options.from_ini(config, "pg_autouse")),
        keep=options.from_command_line(config, "pg_keep"),
        keep_failed=options.from_command_line(config, "pg_keep_failed"),
        verify=options.is_on(config, "pg_verify"),
    )


def _output_settings(config: pytest.Config) -> OutputSettings:
    stats, report, trace, log_sql = (
        options.from_command_line(config, name)
        for name in ("pg_stats", "pg_report", "pg_trace", "pg_log_sql")
    )
    records = any((stats, report, trace))
    return OutputSettings(stats=bool(stats), log_sql=log_sql is not None, records=records)


def _check_settings(
    config: pytest.Config, main: DatabaseOptions, further: Iterable[DatabaseOptions]
) -> CheckSettings:
    only = bool(options.from_command_line(config, "pg_check_only"))
    asked = options.is_on(config, "pg_check")
    if only or asked:
        path = main.alembic_config
        if not (path and path.is_file()) and not any(each.alembic_config for each in further):
            raise pytest.UsageError(f"pg_check: there is no file {path}")
    order = options.from_ini(config, "pg_check_column_order")
    return CheckSettings(
        enabled=only or asked,
        only=only,
        since=main.check_since,
        heads=main.check_heads,
        column_order=order is not False,
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


def _bind(config: pytest.Config, databases: Mapping[str, object]) -> Mapping[str, tuple[str, ...]]:
    if not options.from_ini(config, "pg_bind"):
        return {}
    from pytest_pgtemplate._settings import import_paths

    return import_paths.read_bind(config, databases)


def _listen(config: pytest.Config, templates: dict[str, str]) -> bool:
    """Listen if a variable contains a URL, host or port: its reader may not support sockets."""
    listen: bool | None = options.from_ini(config, "pg_listen")
    if listen is not None or not templates:
        return bool(listen)
    from pytest_pgtemplate._urls import url_templates

    return any(map(url_templates.needs_tcp, templates.values()))


def _prefix(config: pytest.Config) -> str:
    return database_names.prefix_of(options.get(config, "pg_name") or config.rootpath.name)


def _database_options(
    config: pytest.Config, database: str, urls: tuple[str, ...]
) -> DatabaseOptions:
    option = partial(options.option_name, database=database)
    path = options.path(config, option("pg_alembic_ini"))
    if path and not path.is_file():
        raise pytest.UsageError(f"{option('pg_alembic_ini')}: there is no file {path}")
    return DatabaseOptions(
        urls=urls,
        alembic_config=path or (None if database else _default_alembic_config(config.rootpath)),
        revision=options.get(config, option("pg_revision")) or "heads",
        check_since=options.from_ini(config, option("pg_check_since")) or None,
        check_heads=options.from_ini(config, option("pg_check_heads")) or 1,
    )


def _default_alembic_config(root: Path) -> Path:
    """alembic.ini in the rootdir, else its pyproject.toml if it contains [tool.alembic]."""
    ini, pyproject = root / "alembic.ini", root / "pyproject.toml"
    alone = not ini.is_file() and pyproject.is_file()
    if alone and "[tool.alembic]" in pyproject.read_text("utf-8"):
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
