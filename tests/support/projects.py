"""Small projects for child pytest runs: an Alembic environment with revisions given as text, tests.

A pytest plugin, for the fixtures at the end. Nothing here is a test.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import asyncpg
import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.quoting import quote_identifier
from pytest_pgtemplate._urls import database_names
from support.kinds import Kind, server_as, url_of
from support.programs import load_program

# Without plugins that take time to load and have no part in what these projects show.
PLAIN = [f"-pno:{name}" for name in ("cacheprovider", "asyncio", "anyio", "hypothesispytest")]

INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = os
sqlalchemy.url = driver://nobody@nowhere/nothing
"""

SYNC_ENV = load_program("projects/sync_env.py")

ASYNC_ENV = load_program("projects/async_env.py")

REVISION = """
import os
import sqlalchemy as sa
from alembic import op

revision = {name!r}
down_revision = {down!r}
branch_labels = {labels!r}
depends_on = {needs!r}

def upgrade():
{body}
{downgrade}"""

DOWNGRADE = """
def downgrade():
{undo}
"""

ITEM = """
op.create_table(
    "item",
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
)
op.execute("INSERT INTO item (name) VALUES ('reference')")
"""

# Every call of the migration is one line in a file: how often it ran is not a matter of belief.
COUNTED = """
with open(os.environ["MIGRATION_LOG"], "a") as log:
    log.write("migrated\\n")
"""

# Three tests that need the database, each of which would notice rows of another, and one that
# does not.
TESTS = load_program("projects/tests.py")

# Templates that tests of this process have built and given back: by the server's URL and a digest.
_TEMPLATES: dict[tuple[str, str], str] = {}


@dataclass
class Project:
    """A directory with a pytest.ini, tests and usually an Alembic environment, and how to run it.

    All its databases start with ``prefix``; whatever is left of them is dropped after the test.
    """

    root: Path
    pytester: pytest.Pytester
    server: Server
    prefix: str
    log: Path
    options: dict[str, str] = field(default_factory=dict)  # of every pytest.ini
    has_own_role: bool = False  # which is dropped after the test
    _head: str | None = field(default=None)
    _prepared: tuple[str, str] | None = field(default=None)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    def ini(self, **options: object) -> Path:
        """Write pytest.ini; the databases' prefix is always in it."""
        values = {"pg_name": self.prefix, **self.options, **options}
        lines = [f"{name} = {value}" for name, value in values.items()]
        return self.write("pytest.ini", "\n".join(["[pytest]", *lines, ""]))

    def alembic(self, env: str = SYNC_ENV, ini: str = INI) -> None:
        """An Alembic environment without revisions."""
        self.write("alembic.ini", ini)
        self.write("migrations/env.py", env)

    def revision(
        self,
        name: str,
        body: str = "pass",
        undo: str | None = None,
        *,
        down: str | tuple[str, ...] | None = "",
        labels: tuple[str, ...] | None = None,
        needs: str | None = None,
        folder: str = "migrations/versions",
    ) -> Path:
        """Write a revision; without ``down`` it follows the one that was written before it.

        Without ``undo`` it has no downgrade.
        """
        down = self._head if down == "" else down
        self._head = name
        text = REVISION.format(
            name=name,
            down=down,
            labels=labels,
            needs=needs,
            body=_indented(body),
            downgrade=DOWNGRADE.format(undo=_indented(undo)) if undo else "",
        )
        return self.write(f"{folder}/{name}.py", text)

    def prepare_template(self) -> None:
        """For a test of something else than building: take the template of an earlier test.

        It was built from equal files, by ``pgtemplate build``. ``clean`` gives it back.
        """
        self._give_template_back()
        if self.has_own_role:
            return
        self._prepared = os.environ["PGTEMPLATE_URL"], self._digest()
        if self._prepared not in _TEMPLATES:
            _TEMPLATES[self._prepared] = self._build_template()
        self._rename(_TEMPLATES[self._prepared], self.prefix)

    def _digest(self) -> str:
        """Of all files that are there now, without the prefix of the databases."""
        digest = hashlib.sha256()
        for file in sorted(self.root.rglob("*")):
            if file.is_file() and ".cache" not in file.parts:
                text = file.read_bytes().replace(self.prefix.encode(), b"")
                digest.update(f"{file.relative_to(self.root)} {len(text)} ".encode() + text)
        return digest.hexdigest()

    def _build_template(self) -> str:
        prefix = unique("t")
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory, "project")
            shutil.copytree(self.root, copy, ignore=shutil.ignore_patterns(".cache"))
            (copy / "test_any.py").write_text("def test_any(pg): ...\n")
            command = [sys.executable, "-m", "pytest_pgtemplate._cli.main", "build"]
            own = {"XDG_CACHE_HOME": directory, "MIGRATION_LOG": f"{directory}/log"}
            arguments = [*PLAIN, f"--pg-name={prefix}"]
            subprocess.run([*command, *arguments], cwd=copy, env=os.environ | own, check=True)
        for name in self._all(prefix):
            if not database_names.is_template(name):
                self.server.drop(name)
        [template] = self._all(prefix)
        return template

    def _rename(self, template: str, prefix: str) -> None:
        name = f"{prefix}{template[template.index('_tpl_') :]}"
        renaming = f"{quote_identifier(template)} RENAME TO {quote_identifier(name)}"
        execute(self.server.url, f"ALTER DATABASE {renaming}")

    def _give_template_back(self) -> None:
        if self._prepared is None:
            return
        prefix, _, fingerprint = _TEMPLATES[self._prepared].partition("_tpl_")
        mine = f"{self.prefix}_tpl_{fingerprint}"
        if mine in self._all(self.prefix):
            self._rename(mine, prefix)
        else:
            del _TEMPLATES[self._prepared]
        self._prepared = None

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process: the way for options and output."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of what tests have left on purpose
            result = self.pytester.runpytest_inprocess(*PLAIN, *arguments)
            gc.collect()
            gc.freeze()  # what has stayed, such as modules: hundreds of runs would look at it again
        return result

    def run_workers(self, *arguments: str, workers: int = 2) -> pytest.RunResult:
        """Run pytest with xdist, in a process of its own."""
        return self.pytester.runpytest_subprocess(*PLAIN, "-n", str(workers), *arguments)

    def command(self, *arguments: str) -> list[str]:
        """The command line of such a run, for whoever starts it himself."""
        return [sys.executable, "-m", "pytest", *PLAIN, *arguments]

    def databases(self) -> list[str]:
        """Every database on the server whose name is ours, marked or not, but for spares."""
        return [name for name in self._all(self.prefix) if database_names.template_of(name) is None]

    def spares(self) -> list[str]:
        """What the next run takes instead of cloning."""
        return [
            name for name in self._all(self.prefix) if database_names.template_of(name) is not None
        ]

    def _all(self, prefix: str) -> list[str]:
        rows = query(
            self.server.url,
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1) ORDER BY datname",
            f"{prefix}_",
        )
        return [row["datname"] for row in rows]

    def migrations(self) -> int:
        """How often a COUNTED migration has run."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def clean(self) -> None:
        self._give_template_back()
        for name in self._all(self.prefix):
            self.server.drop(name)


def _indented(code: str) -> str:
    return indent(dedent(code).strip("\n"), "    ")


def query(url: URL, sql: str, *arguments: object, database: str | None = None) -> list[Any]:
    """Run one statement over a connection of its own."""

    async def run() -> list[Any]:
        connection = await connect(url, database)
        try:
            rows: list[Any] = await connection.fetch(sql, *arguments)
            return rows
        finally:
            await connection.close()

    return asyncio.run(run())


def execute(url: URL, *scripts: str, database: str | None = None) -> None:
    """Run each script over one connection; CREATE DATABASE must be alone in its script."""

    async def run() -> None:
        connection = await connect(url, database)
        try:
            for script in scripts:
                await connection.execute(script)
        finally:
            await connection.close()

    asyncio.run(run())


async def connect(url: URL, database: str | None = None) -> Any:
    if database is not None:
        url = url.set(database=database)
    return await asyncpg.connect(str(_urls.dsn(url)))


def unique(word: str) -> str:
    """A name that no other run on this server has."""
    return f"{word}_{uuid.uuid4().hex[:8]}"


@contextmanager
def interruptible() -> Iterator[None]:
    """Start a process here that SIGINT reaches, also where these tests run with it ignored.

    That is inherited, by background jobs of a script as by nohup; a handler is not.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def make_project(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
    url: URL,
    **options: str,
) -> Iterator[Project]:
    """A project on ``url``; ``server`` may see and drop what it makes there."""
    # A cache of its own: locks, and what was reported. Not the embedded server, which is given.
    monkeypatch.setenv("XDG_CACHE_HOME", str(pytester.path / ".cache"))
    monkeypatch.setenv("PGTEMPLATE_URL", str(_urls.render(url)))
    # Python takes a file that is written again, within a second and as long, for the one it knows.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    log = pytester.path / "migrations.log"
    monkeypatch.setenv("MIGRATION_LOG", str(log))
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)
    project = Project(pytester.path, pytester, server, unique("t"), log, options)
    project.ini()
    yield project
    project.clean()


@pytest.fixture(scope="session")
def server(server_url: str) -> Iterator[Server]:
    """The server of the session, to look at from outside of a child run."""
    server = Server(_urls.parse(server_url), timeout=60)
    yield server
    for template in _TEMPLATES.values():
        if server.find(template) is not None:
            server.drop(template)
    server.close()


@pytest.fixture
def prefix(server: Server) -> Iterator[str]:
    """A prefix of this test's own; what it leaves behind under it is removed, ours or not."""
    name = unique("t")
    yield name
    for row in query(server.url, "SELECT datname, datistemplate FROM pg_database"):
        if row["datname"].startswith(f"{name}_"):
            quoted = quote_identifier(row["datname"])
            if row["datistemplate"]:
                execute(server.url, f"ALTER DATABASE {quoted} IS_TEMPLATE false")
            execute(server.url, f"DROP DATABASE {quoted} WITH (FORCE)")


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    server: Server,
) -> Iterator[Project]:
    """An empty project on the session's server.

    With ``@pytest.mark.parametrize("project", KINDS, indirect=True, ids=str)``, also of its
    fixtures, it is on the server, as the role and with the tracking of each kind.
    """
    kind: Kind | None = getattr(request, "param", None)
    if kind is None:
        yield from make_project(pytester, monkeypatch, server, server.url)
        return
    with server_as(url_of(request, kind.server), kind.role) as of_kind:
        tracking = {"pg_tracking": kind.tracking}
        for project in make_project(pytester, monkeypatch, of_kind, of_kind.url, **tracking):
            project.has_own_role = not kind.superuser
            yield project
