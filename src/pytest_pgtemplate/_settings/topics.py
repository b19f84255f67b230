"""The resolved settings by topic. Each package receives only the topics that it uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self, dataclass_transform


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Topic:
    """A frozen record, whose fields a subclass declares; type checkers know its parameters.

    Every run of pytest defines the subclasses. As ``NamedTuple`` or ``dataclass``, they would take
    a fifth of the time that the plugin needs in a run without database tests.
    """

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is read-only")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values of some fields."""
        return type(self)(**{**self.__dict__, **changes})


def cache() -> Path:
    """Return the directory that all runs of this user share, for locks and the embedded server.

    pytest's basetemp cannot serve: it changes with every run.
    """
    from platformdirs import user_cache_path

    return user_cache_path("pytest-pgtemplate", appauthor=False)


class RunIdentity(Topic):
    """Which run this process is part of, and as which worker."""

    root: Path  # of the project
    directories: tuple[Path, Path]  # pytest's working directory, and root
    run: str  # the same id in every worker of a run
    worker: str  # "gw0", or "main" without xdist
    workers: int  # number of workers at the start of the run
    embedded_owner: str  # embedded_server_owner() of the controller; "": no embedded server

    @property
    def number(self) -> int:
        return int(self.worker.removeprefix("gw")) if self.worker != "main" else 0

    @property
    def directory(self) -> Path:
        """The directory that all workers of this run share; removed at its end."""
        return cache() / "runs" / self.run


class ServerSettings(Topic):
    """Where the databases of a run are, and which embedded server serves them."""

    urls: tuple[str, ...]  # empty: the embedded server
    unreachable: tuple[str, ...]  # configured servers that do not answer; not in urls
    bindir: Path | None
    version: int | None  # major version of the embedded server
    driver: str  # in the URL of the embedded server
    listen: bool  # whether the embedded server also listens on 127.0.0.1
    timeout: float  # seconds

    def __repr__(self) -> str:
        return f"<{len(self.urls)} server URLs>"  # they may contain passwords

    @property
    def embedded(self) -> tuple[Path | None, int | None, bool]:
        """The parameters of ``_embedded.acquire``: bindir, major version, listen."""
        return self.bindir, self.version, self.listen

    @property
    def command_line_options(self) -> str:
        """The options with which ``pgtemplate`` uses the same embedded server."""
        options = f"--bindir '{self.bindir}' " if self.bindir else ""
        options += f"--pg-version {self.version} " if self.version else ""
        return options + ("--listen " if self.listen else "")


class TemplateSettings(Topic):
    """The sources of the template, and the prefix of its name."""

    prefix: str
    alembic_config: Path | None  # None: a further database without pg_alembic_ini_<name>
    revision: str
    fingerprint_files: tuple[Path, ...]
    tracking: str
    rebuild: bool


class CheckSettings(Topic):
    """Whether and how the migrations are tested."""

    enabled: bool
    only: bool  # collect nothing else
    since: str | None
    heads: int
    column_order: bool  # whether a downgrade has to restore the order of columns


class IsolationSettings(Topic):
    """How a test without a ``pg`` marker is isolated, and what happens to its database."""

    kind: str
    scope: str
    on_leak: str
    on_ddl: str
    autouse: bool
    keep: bool
    keep_failed: bool
    verify: bool


class OutputSettings(Topic):
    """What the run reports beside its results."""

    stats: bool
    log_sql: bool
    records: bool  # record the timeline of the run


class DatabaseOptions(Topic):
    """The options that each database has of its own."""

    urls: tuple[str, ...]
    alembic_config: Path | None
    revision: str
    check_since: str | None
    check_heads: int
