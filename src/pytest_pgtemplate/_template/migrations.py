"""The Migrations protocol, and all implementations except ``Alembic``.

An implementation has two methods: one yields every byte that can change the schema, without
importing the user's code, and one migrates an empty database.
"""

from __future__ import annotations

import inspect
import json
import os
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import MetaData, create_mock_engine
from sqlalchemy.schema import CreateSchema

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._template import sql_scripts
from pytest_pgtemplate._template.created_objects import count_objects
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.lineage import Lineage, Revision
from pytest_pgtemplate._template.target import Target, raise_if_failed, redact_password
from pytest_pgtemplate.errors import ConfigurationError, MigrationError, PgTemplateError


class Migrations(Protocol):
    """The type of the ``pg_migrations`` fixture: any object with these two methods."""

    def fingerprint(self) -> Iterator[bytes]:
        """Yield every byte and option that can change the schema."""
        ...

    def migrate(self, target: Target) -> str | None:
        """Migrate the empty database at ``target.url``. Raises MigrationError.

        May return what has run, for the summary: "3 of 3 revisions".
        """
        ...


@dataclass(frozen=True)
class Metadata:
    """``MetaData.create_all``, for projects without migrations."""

    metadata: MetaData

    def fingerprint(self) -> Iterator[bytes]:
        yield b"metadata"
        # Sorted: SQLAlchemy keeps the indexes of a table in a set, whose order may be another one
        # in each process.
        yield "\n;\n".join(sorted(self._statements())).encode()

    def migrate(self, target: Target) -> None:
        # A statement may end with a comment.
        script = "\n;\n".join(self._statements())
        sql_scripts.run_text(script, "MetaData.create_all", target)

    def _statements(self) -> list[str]:
        statements: list[str] = []

        def collect(ddl: Any, *_: Any, **__: Any) -> None:
            statements.append(str(ddl.compile(dialect=engine.dialect)))

        # asyncpg executes the SQL; dialects of other drivers would double every percent sign.
        engine: Any = create_mock_engine("postgresql+asyncpg://", collect)
        for schema in sorted(set(self._schemas())):
            collect(CreateSchema(schema, if_not_exists=True))
        self.metadata.create_all(engine, checkfirst=False)
        return statements

    def _schemas(self) -> Iterator[str]:
        for table in self.metadata.tables.values():
            types = (getattr(column.type, "item_type", column.type) for column in table.columns)
            schemas = (table.schema, *(getattr(type_, "schema", None) for type_ in types))
            yield from filter(None, schemas)


class SqlFiles:
    """SQL files, each run as one transaction, in the order given.

    psql runs those that are written for it, such as the output of pg_dump.
    """

    def __init__(self, *paths: Path | str) -> None:
        self.paths = [Path(path) for path in paths]

    def fingerprint(self) -> Iterator[bytes]:
        if not self.paths:
            raise _no_files("SqlFiles", "the database would be empty")
        yield b"sql"
        for path in self.paths:
            yield from _read_all(path)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Yield each file that determines the schema, with its content."""
        for path in self.paths:
            yield path, _read(path)
            yield from ((each, _read(each)) for each in _files_to_read(path))

    def lineage(self) -> Lineage:
        """Return the files as revisions "0", "1", .. that follow each other."""
        revisions = {}
        for number, path in enumerate(self.paths):
            before = frozenset({str(number - 1)} if number else ())
            revisions[str(number)] = Revision(before, digest_parts(_read_all(path)).encode())
        return Lineage((b"sql",), revisions)

    def migrate(self, target: Target) -> str:
        pending = self.paths[len(target.applied) :]
        names = [path.name for path in pending]
        for path in progress_file.report_progress(target.progress, "migrating", pending, names):
            sql_scripts.run_file(path, target)
        return f"{len(pending)} of {len(self.paths)} files"


class Command:
    """Any other migration tool.

    ``Command("dbmate", "up", env="DATABASE_URL", files=Path("db").rglob("*.sql"))``

    ``env``: the environment variable for the URL; not needed by a tool that reads a variable of
    ``pg_env``. ``files``: the files that determine the schema. ``cwd``: by default, the current
    directory.
    """

    def __init__(
        self,
        *argv: str,
        env: str | None = None,
        files: Iterable[Path | str],
        cwd: Path | None = None,
    ) -> None:
        self.argv = argv
        self.name = " ".join(argv)
        self.env = env
        self.files = sorted(map(Path, files))
        self.cwd = cwd or Path.cwd()

    def fingerprint(self) -> Iterator[bytes]:
        if not self.files:
            raise _no_files("Command", "a change of the migrations would not be noticed")
        yield b"command"
        yield json.dumps([*self.argv, self.env]).encode()
        for path in self.files:
            yield os.path.relpath(path, self.cwd).encode()  # the same in every checkout
            yield _read(path)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Yield each file that determines the schema, with its content."""
        yield from ((path, _read(path)) for path in self.files)

    def migrate(self, target: Target) -> None:
        env = {**target.env, **({self.env: str(_urls.dsn(target.url))} if self.env else {})}
        try:
            result = _child.run(self.argv, env=env, cwd=self.cwd, timeout=target.timeout)
        except OSError as error:
            raise MigrationError(
                f"{self.argv[0]} cannot be started: {error}", hint="correct pg_migrations"
            ) from error
        raise_if_failed(result, self.name, target.timeout, target.url)


def _no_files(name: str, effect: str) -> ConfigurationError:
    return ConfigurationError(
        f"pg_migrations: {name} has no files, so {effect}",
        hint="correct the pattern that finds them",
    )


def _read_all(path: Path) -> Iterator[bytes]:
    """Yield the content of a SQL file, and of the files that psql reads for it."""
    yield _read(path)
    yield from map(_read, _files_to_read(path))


def _files_to_read(path: Path) -> Iterator[Path]:
    return sql_scripts.files_to_read(path, sql_scripts.decode(_read(path)))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"pg_migrations: {path} cannot be read: {error.strerror}", hint="correct the path"
        ) from error


def migrate(migrations: Migrations, target: Target) -> str | None:
    """Call ``migrations.migrate``. Wraps the errors of a user's class in MigrationError.

    Raises it also after a success that has created nothing: the tool has used another database.
    ``Alembic`` and ``SqlFiles``, which have a lineage, check their own database.
    """
    may_miss = not hasattr(migrations, "lineage")
    before = count_objects(target) if may_miss else 0
    ran = _call(migrations, target)
    if may_miss and count_objects(target) == before:
        raise MigrationError(
            f"{getattr(migrations, 'name', type(migrations).__name__)} ended without an error, but"
            " the template's database is as empty as before",
            hint=_NOTHING_CREATED.get(type(migrations), "migrate the database at target.url"),
        )
    return ran


def _call(migrations: Migrations, target: Target) -> str | None:
    name = type(migrations).__name__
    try:
        ran = migrations.migrate(target)
    except PgTemplateError:
        raise
    except Exception as error:
        trace = redact_password("".join(traceback.format_exception(error)), target.url).rstrip()
        raise MigrationError(
            f"{name}.migrate failed:\n{trace}",
            hint="correct the object that the pg_migrations fixture returns, and run again",
        ) from error
    if inspect.iscoroutine(ran) or inspect.isgenerator(ran):
        ran.close()
        raise MigrationError(
            f"{name}.migrate is a coroutine or generator function, so a call of it executes"
            " nothing",
            hint="define it without async and yield; asyncio.run() executes a coroutine",
        )
    return ran


_NOTHING_CREATED: dict[type, str] = {
    Metadata: "import the modules of the models before pg_migrations returns Metadata(..)",
    Command: "pass env= with the name of the variable that the tool reads its URL from; it may"
    " have migrated another database",
}
