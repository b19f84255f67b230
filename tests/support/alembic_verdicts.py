"""What Alembic's own commands say of each revision, as a judge of ``pgtemplate check``.

    python tests/support/alembic_verdicts.py alembic.ini URL [REVISION ..]

For each revision it runs ``alembic upgrade``, ``downgrade -1`` and ``upgrade`` again, each by
itself on one database, and compares the copies of it that it made in between. The URL names an
empty database for that; the names of the copies are its own and a letter.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL, make_url

from pytest_pgtemplate._reset import compare_databases
from support.projects import execute, query

TABLES = """
SELECT format('SELECT %L AS source, t::text AS row FROM %s AS t', c.oid::regclass, c.oid::regclass)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""


def rows(url: URL) -> list[tuple[str, str]]:
    """The rows of all tables, as text."""
    queries = [row[0] for row in query(url, TABLES)]
    found = query(url, " UNION ALL ".join(queries)) if queries else []
    return sorted((row["source"], row["row"]) for row in found)


class Judge:
    """One database in which the commands run, and copies of it. ``url`` has no driver."""

    def __init__(self, ini: Path, url: URL) -> None:
        self._ini = ini
        self._url = url

    def verdicts(self) -> Iterator[tuple[str, str]]:
        """Each revision, in order: "passed", "failed" or "irreversible"."""
        command.ensure_version(self._config())
        script = ScriptDirectory.from_config(self._config())
        for revision in reversed(list(script.walk_revisions())):
            yield revision.revision, self._verdict(revision.revision)

    def _verdict(self, revision: str) -> str:
        before = self._copy("a")
        command.upgrade(self._config(), revision)
        first = self._copy("b")
        try:
            command.downgrade(self._config(), "-1")
            undone = self._differs(before, self._copy("c"))
            command.upgrade(self._config(), revision)
            again = self._differs(first, self._url)
        except Exception as error:
            self._restore("b")
            return "irreversible" if "irreversible" in str(error) else "failed"
        if undone or again:
            self._restore("b")
            return "failed"
        return "passed"

    def _config(self) -> Config:
        config = Config(self._ini)
        url = self._url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        return config

    def _differs(self, one: URL, other: URL) -> bool:
        return rows(one) != rows(other) or bool(compare_databases(one, other, timeout=60))

    def _copy(self, letter: str) -> URL:
        copy = self._url.set(database=f"{self._url.database}_{letter}")
        self._clone(str(self._url.database), str(copy.database))
        return copy

    def _restore(self, letter: str) -> None:
        self._clone(f"{self._url.database}_{letter}", str(self._url.database))

    def _clone(self, source: str, name: str) -> None:
        maintenance = self._url.set(database="postgres")
        execute(maintenance, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        execute(maintenance, f'CREATE DATABASE "{name}" TEMPLATE "{source}"')


if __name__ == "__main__":
    for name, verdict in Judge(Path(sys.argv[1]), make_url(sys.argv[2])).verdicts():
        sys.stdout.write(f"{verdict:12} {name}\n")
