"""The resources of this process, its server and its database, until they are given back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from pytest_pgtemplate.errors import PgTemplateError

if TYPE_CHECKING:
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._template import Template
    from pytest_pgtemplate._worker import WorkerDatabase

T = TypeVar("T")


class Resource(NamedTuple, Generic[T]):
    """What a fixture yields, and the function that gives it back, which may raise ServerError."""

    value: T
    close: Callable[[], None]


class PreparedResources:
    """What the plugin has prepared for one database, until a fixture takes it."""

    def __init__(self) -> None:
        self.server: Resource[Server] | None = None
        self.template: Template | None = None
        self.database: Resource[WorkerDatabase] | None = None
        self.error: PgTemplateError | None = None  # of the last attempt
        self._attempt: tuple[str, ...] = ()

    def begin_attempt(self, *attempt: str) -> None:
        """Begin a step. Raises the PgTemplateError of a preparation with the same arguments.

        A second call tries again.
        """
        error, self.error = self.error, None
        if error is not None and attempt == self._attempt:
            raise error
        self._attempt = attempt

    def take_server(self) -> Resource[Server] | None:
        server, self.server = self.server, None
        return server

    def take_template(self, name: str) -> Template | None:
        """Return the prepared template if it has this name: a file may have changed since."""
        template, self.template = self.template, None
        return template if template is not None and template.name == name else None

    def take_database(self, server: Server, template: Template) -> Resource[WorkerDatabase] | None:
        """Return the prepared database if it is a clone of this template on this server.

        Otherwise, give it back: a fixture is overridden, and the new database has the same name.
        """
        if self.database is not None and not self.database.value.is_clone_of(server, template):
            self._close_database()
        database, self.database = self.database, None
        return database

    def close(self) -> None:
        """Give back what no fixture has taken. Errors are ignored: the next run sweeps."""
        self._close_database()
        if (server := self.take_server()) is not None:
            with suppress(PgTemplateError):
                server.close()

    def _close_database(self) -> None:
        database, self.database = self.database, None
        if database is not None:
            with suppress(PgTemplateError):
                database.close()
