"""Every error and warning that pytest-pgtemplate raises.

PgTemplateError             message and HINT
 +-- ConfigurationError     an option or URL cannot be used
 +-- ServerError            the server cannot be reached, or the role lacks a privilege
 |    +-- EmbeddedServerError   the embedded server has no binaries, no cache or does not start
 +-- MigrationError         the migrations failed, timed out or migrated another database
 +-- TemplateError          the template could not be built or published in time
 +-- LeakError              a test or a wide fixture left a transaction open
 +-- LayerError             the writes of a wide fixture cannot be attributed to it
 +-- SchemaChangedError     a test changed the schema, and pg_on_ddl is "error"
 +-- VerificationError      --pg-verify: a reset did not restore the expected state
 +-- NotOursError           the plugin refused to drop or rename a database without its mark

PgTemplateWarning           the run can continue, but the user should know about it
"""

from __future__ import annotations

import warnings
from contextvars import ContextVar


class PgTemplateError(Exception):
    """Base of all errors: ``message`` says what went wrong, ``hint`` names the next step."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(_encodable(message))
        self.message = _encodable(message)
        self.hint = _encodable(hint)

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}"


def _encodable(text: str) -> str:
    """Escape what UTF-8 cannot encode, as in paths with other bytes: workers exchange the text."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ConfigurationError(PgTemplateError):
    """The value of an option, environment variable or URL cannot be used."""


class ServerError(PgTemplateError):
    """The PostgreSQL server cannot be reached, or it refuses a required operation."""


class EmbeddedServerError(ServerError):
    """The embedded server cannot be found, prepared or started."""


class MigrationError(PgTemplateError):
    """The migrations failed, took longer than ``pg_timeout``, or migrated another database."""


class TemplateError(PgTemplateError):
    """The template could not be built or published."""


class LeakError(PgTemplateError):
    """An open transaction wrote something, or it holds a lock that the reset needs."""


class LayerError(PgTemplateError):
    """The writes of a fixture wider than ``function`` cannot be separated from other writes."""


class SchemaChangedError(PgTemplateError):
    """A test changed the schema, and ``pg_on_ddl`` is ``error``."""


class VerificationError(PgTemplateError):
    """With ``--pg-verify``: the database differs from its expected state after a test."""


class NotOursError(PgTemplateError):
    """A database without the plugin's mark was about to be dropped or renamed."""


class PgTemplateWarning(UserWarning):
    """The run can continue, but the user should know about it."""


# Whether ``warn`` raises: pytest attributes no warning of another thread to a test.
WARNINGS_RAISE: ContextVar[bool] = ContextVar("WARNINGS_RAISE", default=False)


def warn(message: str) -> None:
    """Issue a PgTemplateWarning; raise it where ``WARNINGS_RAISE`` is set."""
    warning = PgTemplateWarning(message)
    if WARNINGS_RAISE.get():
        raise warning
    warnings.warn(warning, stacklevel=2)
