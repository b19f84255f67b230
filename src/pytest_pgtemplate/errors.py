"""Every error and warning that pytest-pgtemplate raises.

PgTemplateError             message and HINT
 +-- ConfigurationError     an option or URL that cannot be used
 +-- ServerError            the server cannot be reached, or may not do what is needed
 |    +-- EmbeddedServerError   no binaries, no cache, or the private server would not start
 +-- MigrationError         the migrations failed, took too long, or went elsewhere
 +-- TemplateError          the template could not be built or published in time
 +-- LeakError              a test or a wide fixture left a transaction open
 +-- LayerError             what a wide fixture wrote cannot be told from what others did
 +-- SchemaChangedError     a test changed the schema, and pg_on_ddl is "error"
 +-- NotOursError           a database without our mark was to be dropped or renamed

PgTemplateWarning           something a user should know and can live with
"""

from __future__ import annotations


class PgTemplateError(Exception):
    """Base of all errors: what went wrong, and in ``hint`` the next step."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}"


class ConfigurationError(PgTemplateError):
    """An option, environment variable or URL has a value that cannot be used."""


class ServerError(PgTemplateError):
    """The PostgreSQL server cannot be reached, or refuses what is needed of it."""


class EmbeddedServerError(ServerError):
    """The private server cannot be found, prepared or started."""


class MigrationError(PgTemplateError):
    """The migrations failed, took longer than ``pg_timeout``, or migrated another database."""


class TemplateError(PgTemplateError):
    """The template could not be built or published."""


class LeakError(PgTemplateError):
    """A transaction was left open that wrote something, or holds what a reset needs."""


class LayerError(PgTemplateError):
    """What a fixture wider than ``function`` wrote cannot be told from what others wrote."""


class SchemaChangedError(PgTemplateError):
    """A test changed the schema although ``pg_on_ddl`` forbids it."""


class NotOursError(PgTemplateError):
    """A database that does not bear our mark was about to be dropped or renamed."""


class PgTemplateWarning(UserWarning):
    """Something a user should know about and can live with."""
