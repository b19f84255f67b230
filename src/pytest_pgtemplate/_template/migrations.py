"""What builds the schema in the template: the Migrations protocol, and its simple kinds.

Each kind knows two things: every byte that can change the schema, read without importing any of it,
and how to bring an empty database to that schema.
"""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import MetaData, create_mock_engine
from sqlalchemy.engine import URL
from sqlalchemy.schema import CreateSchema

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._server import connect, portal
from pytest_pgtemplate._template.lineage import Lineage, Revision
from pytest_pgtemplate._urls import redaction
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, PgTemplateError


@dataclass(frozen=True)
class Target:
    """The database to migrate, empty but for what is ``applied``; how long that may take (s)."""

    url: URL
    timeout: float
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    applied: frozenset[str] = frozenset()  # the revisions of a lineage that have run there already
    progress: Path | None = None  # where to tell how far it has come


class Migrations(Protocol):
    """What ``pg_migrations`` gives: anything with these two methods will do."""

    def fingerprint(self) -> Iterator[bytes]:
        """Every byte that can change the schema, and the options that can."""
        ...

    def migrate(self, target: Target) -> str | None:
        """Bring the empty database at ``target.url`` to the schema, or raise MigrationError.

        May return what has run, for the summary: "3 of 3 revisions".
        """
        ...


@dataclass(frozen=True)
class Metadata:
    """``MetaData.create_all``: for projects without migrations."""

    metadata: MetaData

    def fingerprint(self) -> Iterator[bytes]:
        yield b"metadata"
        yield self._sql().encode()

    def migrate(self, target: Target) -> None:
        _execute(self._sql(), "MetaData.create_all", target)

    def _sql(self) -> str:
        statements: list[str] = []

        def collect(ddl: Any, *_: Any, **__: Any) -> None:
            statements.append(str(ddl.compile(dialect=engine.dialect)))

        # asyncpg runs it; the dialects of other drivers double every percent sign.
        engine: Any = create_mock_engine("postgresql+asyncpg://", collect)
        for schema in sorted(set(self._schemas())):
            collect(CreateSchema(schema, if_not_exists=True))
        self.metadata.create_all(engine, checkfirst=False)
        return "\n;\n".join(statements)  # a statement may end with a comment

    def _schemas(self) -> Iterator[str]:
        for table in self.metadata.tables.values():
            types = (getattr(column.type, "item_type", column.type) for column in table.columns)
            yield from filter(
                None, (table.schema, *(getattr(each, "schema", None) for each in types))
            )


class SqlFiles:
    """Plain SQL files, each run as one transaction, in the order given."""

    def __init__(self, *paths: Path | str) -> None:
        self.paths = [Path(path) for path in paths]

    def fingerprint(self) -> Iterator[bytes]:
        yield b"sql"
        yield from map(_read, self.paths)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Every file that decides the schema."""
        yield from ((path, _read(path)) for path in self.paths)

    def lineage(self) -> Lineage:
        """Each file follows the one before it; they have numbers for names."""
        revisions = {}
        for number, path in enumerate(self.paths):
            before = frozenset({str(number - 1)} if number else ())
            revisions[str(number)] = Revision(before, hashlib.sha256(_read(path)).digest())
        return Lineage((b"sql",), revisions)

    def migrate(self, target: Target) -> str:
        wanted = self.paths[len(target.applied) :]
        names = [path.name for path in wanted]
        for path in progress_file.report_progress(target.progress, "migrating", wanted, names):
            _execute(path.read_text("utf-8"), str(path), target)
        return f"{len(wanted)} of {len(self.paths)} files"


class Command:
    """Any other tool: ``env`` names the variable that gets the URL; ``files`` make the schema.

    ``Command("dbmate", "up", env="DATABASE_URL", files=Path("db").rglob("*.sql"))``

    A tool that reads what ``pg_env`` sets needs no ``env``.
    """

    def __init__(
        self,
        *argv: str,
        env: str | None = None,
        files: Iterable[Path],
        cwd: Path | None = None,
    ) -> None:
        self.argv = argv
        self.env = env
        self.files = sorted(files)
        self.cwd = cwd or Path.cwd()

    def fingerprint(self) -> Iterator[bytes]:
        yield b"command"
        yield json.dumps(self.argv).encode()
        for path in self.files:
            yield os.path.relpath(path, self.cwd).encode()  # the same in every checkout
            yield _read(path)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Every file that decides the schema."""
        yield from ((path, _read(path)) for path in self.files)

    def migrate(self, target: Target) -> None:
        url = {self.env: str(_urls.dsn(target.url))} if self.env else {}
        try:
            ended = _child.run(
                self.argv, env={**target.env, **url}, cwd=self.cwd, timeout=target.timeout
            )
        except OSError as error:
            raise MigrationError(
                f"{self.argv[0]} cannot be started: {error}", hint="correct pg_migrations"
            ) from error
        raise_if_failed(ended, " ".join(self.argv), target)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"pg_migrations names {path}: {error.strerror}", hint="correct the path"
        ) from error


def _execute(script: str, what: str, target: Target) -> None:
    async def execute() -> None:
        connection = await connect(
            target.url, timeout=target.timeout, application="pytest-pgtemplate migrations"
        )
        try:
            await connection.execute(script)
        finally:
            await connection.close()

    try:
        portal.run(execute(), timeout=target.timeout)
    except TimeoutError:
        raise _timeout_error(what, target) from None
    except Exception as error:
        raise MigrationError(
            f"{what} failed: {error}", hint="correct the SQL and run again"
        ) from error


def migrate(migrations: Migrations, target: Target) -> str | None:
    """Let ``migrations`` migrate; whatever a class of the user's own raises is a MigrationError."""
    try:
        return migrations.migrate(target)
    except PgTemplateError:
        raise
    except Exception as error:
        trace = "".join(traceback.format_exception(error))
        raise MigrationError(
            f"{type(migrations).__name__}.migrate failed:\n"
            + _redact_password(trace, target.url).rstrip(),
            hint="mend what the pg_migrations fixture returns, and run again",
        ) from error


def raise_if_failed(ended: _child.ChildResult, what: str, target: Target) -> str | None:
    """Raise MigrationError unless the child that ran ``what`` ended well; return what has run."""
    output = _redact_password(ended.output, target.url).rstrip()
    if ended.code == 0:
        return _last_words(ended.output, "ran").get("ran")
    if ended.code is None:
        raise _timeout_error(what, target, output)
    if ended.code == _child.REPORTED_ERROR and (
        error := _last_words(ended.output, "message", "hint")
    ):
        raise MigrationError(**error)
    raise MigrationError(
        f"{what} failed (exit code {ended.code}):\n{output}",
        hint="mend the migration and run again; nothing half-built is left behind",
    )


def _last_words(output: str, *keys: str) -> dict[str, str]:
    """What our own child said last; nothing when it was somebody else's, or had no last word."""
    try:
        words: Any = json.loads(output.rstrip().rpartition("\n")[2])
    except ValueError:
        return {}
    return words if isinstance(words, dict) and words.keys() == set(keys) else {}


def _timeout_error(what: str, target: Target, output: str = "") -> MigrationError:
    last = f"; it said last:\n{output}" if output else ""
    return MigrationError(
        f"{what} took longer than pg_timeout = {target.timeout:g} s and was stopped{last}",
        hint="raise pg_timeout (or --pg-timeout) if the migrations need that long",
    )


def _redact_password(text: str, url: URL) -> str:
    return redaction.redact(text, str(url.password or ""))
