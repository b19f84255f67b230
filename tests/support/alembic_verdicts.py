"""What Alembic's own commands say of each revision, as a judge of ``pgtemplate check``.

    tox run -e verdicts -- DIRECTORY

prints both verdicts for each revision of the project in the directory, whose env.py reads
``sqlalchemy.url``. The exit code is 1 if one of them differs.

For each revision it runs ``alembic upgrade``, ``downgrade`` and ``upgrade`` again, each by itself
on one database, and compares copies of it that it made in between. The names of the copies are its
own and a letter.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy.engine import URL

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._reset import compare_databases
from support.projects import execute, query, unique

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
        before, after = self._copy("a"), "b"
        for revision in reversed(list(script.walk_revisions())):
            command.upgrade(self._config(), revision.revision)
            first = self._copy(after)
            verdict = self._verdict(revision, before, first)
            if verdict != "passed":
                self._clone(str(first.database), str(self._url.database))
            yield revision.revision, verdict
            before, after = first, str(before.database)[-1]

    def _verdict(self, revision: Script, before: URL, first: URL) -> str:
        name, parents = revision.revision, revision.down_revision
        # Relative to a merge, Alembic cannot choose a parent; any of them undoes only the merge.
        below = parents[0] if isinstance(parents, tuple) else f"{name}@-1"
        try:
            command.downgrade(self._config(), below)
            undone = self._differs(before, self._url)
            command.upgrade(self._config(), name)
            again = self._differs(first, self._url)
        except Exception as error:
            return "irreversible" if "irreversible" in str(error) else "failed"
        return "failed" if undone or again else "passed"

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

    def _clone(self, source: str, name: str) -> None:
        maintenance = self._url.set(database="postgres")
        execute(maintenance, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        execute(maintenance, f'CREATE DATABASE "{name}" TEMPLATE "{source}"')


def parse_verdicts(output: str) -> dict[str, str]:
    """The verdicts in the output of ``pytest --pg-check -rA``, by the stems of the files."""
    item = r"^(PASSED|FAILED) \S+::revision\[(?:\S+/)?([^/\s]+)\.py\]"
    found = re.findall(item, output, re.MULTILINE)
    skipped = re.findall(r"^SKIPPED .* revision (\S+) is irreversible", output, re.MULTILINE)
    return {name: word.lower() for word, name in found} | dict.fromkeys(skipped, "irreversible")


@contextmanager
def empty_database(url: URL, name: str) -> Iterator[URL]:
    """Create a database for a ``Judge``; drop it and its copies afterwards."""
    execute(url, f'CREATE DATABASE "{name}"')
    try:
        yield url.set(drivername="postgresql", database=name)
    finally:
        names = "SELECT datname FROM pg_database WHERE starts_with(datname, $1)"
        for each in query(url, names, name):
            execute(url, f'DROP DATABASE "{each[0]}" WITH (FORCE)')


def compare(directory: Path) -> bool:
    """Print both verdicts on each revision; False if one differs."""
    os.chdir(directory)  # as ``alembic`` and ``pgtemplate`` are used
    ini = Path("alembic.ini")
    script = ScriptDirectory.from_config(Config(ini))
    names = {Path(each.path).stem: each.revision for each in script.walk_revisions()}
    with ExitStack() as stack:
        given = os.environ.get("PGTEMPLATE_URL")
        if given is None:
            handle = _embedded.acquire(None, None, timeout=60)
            stack.callback(handle.close)
            given = handle.url
        url = stack.enter_context(empty_database(_urls.parse(given), unique("judge")))
        expected = dict(Judge(ini, url).verdicts())
        check_command = [sys.executable, "-m", "pytest_pgtemplate._cli.main", "check", "-rA"]
        done = subprocess.run(check_command, capture_output=True, text=True, check=False)
    found = {names.get(stem, stem): word for stem, word in parse_verdicts(done.stdout).items()}
    for name, verdict in expected.items():
        check = found.get(name, "not checked")
        mark = "" if check == verdict else "differs"
        sys.stdout.write(
            f"{name:32} alembic: {verdict:12} check: {check:12} {mark}".rstrip() + "\n"
        )
    return found == expected


if __name__ == "__main__":
    sys.exit(not compare(Path(sys.argv[1]).absolute()))
