"""Hints for errors of the user's env.py and migrations."""

from __future__ import annotations

import re
import traceback
from configparser import InterpolationError
from pathlib import Path

READ_THE_URL = (
    'read the URL with config.get_main_option("sqlalchemy.url"), or add the environment variable'
    " that env.py reads to pg_env"
)
# Shown only if env.py fails with an async driver and with a sync one.
OTHER_URL = (
    "env.py connects with a driver that does not suit its engine, sync or async, and not with the"
    f" URL that the plugin passes: {READ_THE_URL}; a template selects the driver there:"
    " DATABASE_URL={url:psycopg}"
)
_BEFORE_CONFIGURE = (
    "env.py failed before it called context.configure(), so no migration has run. If it does not"
    f" use the URL that the plugin passes: {READ_THE_URL}"
)
_ESCAPE = (
    "the URL has a percent sign, which Alembic's configuration takes for the beginning of a"
    ' reference: config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))'
)
SHARED_OBJECTS = (
    "roles and tablespaces belong to the whole server, and remain when the plugin drops an"
    " incomplete database: an earlier build has created this one. Guard the statement: DO $$ BEGIN"
    " CREATE ROLE ..; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
)
_CREATES_SHARED = re.compile(
    r"\bcreate\s+(role|user(?!\s+mapping)|group|tablespace)\b", re.IGNORECASE
)
DUPLICATE_OBJECT = "42710"


class HintedError(Exception):
    """The user's code raised ``__cause__``; ``hint`` names the next step."""

    def __init__(self, hint: str) -> None:
        super().__init__(hint)
        self.hint = hint


class WrongDriverError(Exception):
    """A sync env.py got a URL with an async driver, or the other way round."""


def explain_before_configure(error: Exception) -> HintedError | WrongDriverError:
    """Explain an error that env.py raised before ``context.configure()``."""
    from sqlalchemy.exc import InvalidRequestError, MissingGreenlet

    raised_in = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    is_async_engine = raised_in[-1:] and raised_in[-1].parts[-3:-1] == ("ext", "asyncio")
    if isinstance(error, MissingGreenlet) or (
        isinstance(error, InvalidRequestError) and is_async_engine
    ):
        return WrongDriverError()
    in_parser = any(path.name == "configparser.py" for path in raised_in)
    if isinstance(error, InterpolationError) or (isinstance(error, ValueError) and in_parser):
        return HintedError(_ESCAPE)
    return HintedError(_BEFORE_CONFIGURE)


def statement_hint(error: BaseException) -> str:
    """Return a hint for a database error in a migration, or an empty string."""
    driver_error = getattr(error, "orig", None)
    sqlstate = getattr(driver_error, "sqlstate", None) or getattr(driver_error, "pgcode", None)
    if sqlstate is None and driver_error is not None and isinstance(driver_error.args[0], dict):
        sqlstate = driver_error.args[0].get("C")  # pg8000
    return shared_object_hint(sqlstate, str(getattr(error, "statement", "")))


def shared_object_hint(sqlstate: str | None, statement: str) -> str:
    """Return a hint if the statement creates a role or tablespace that exists, else nothing."""
    duplicate = sqlstate == DUPLICATE_OBJECT and _CREATES_SHARED.search(statement)
    return SHARED_OBJECTS if duplicate else ""
