"""Faults: one call to the server fails, or one use of a file, in runs of a small suite.

    cd tests; python -m support.faults [--kind KIND ..] [--start warm|cold] [--every N] [--only K]
        [--tracking scan] [--role plain] [--bindir DIRECTORY]

The suite (programs/faults) has a failing test, rows that tests share, a test that changes the
schema and one that leaves a transaction open; it runs on two workers. Each test compares its
database with what it has to hold. A run starts ``warm``, with a template and spares, or ``cold``,
without any database and with an empty cache. Some calls are those of the threads that prepare the
databases: the suite notes when they work, and the system tells which process has called. With
``--preparation``, only these fail. For each call or use K:

- the run is red, and it ends in time;
- no test starts in a wrong state;
- the failing test is reported as failed, or there is an error instead;
- databases of others are left alone;
- the next run, in which no test fails, is green, and leaves nothing but a template and spares.

The model are SQLite's tests of I/O errors and of memory that runs out (sqlite.org/testing.html).
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._urls import database_names
from support.faulty_server import KINDS, Caller, Fault, FaultyServer, faulty_server
from support.programs import PROGRAMS
from support.projects import INI, REVISION, SYNC_ENV, execute, query
from support.servers import private_server, server_directory

TIMEOUT = 5.0  # pg_timeout, seconds
HANGS = 60.0  # seconds
WORKERS = 2
STARTS = ("warm", "cold")
FILE_KINDS = ("unreadable", "broken")
ALL_KINDS = (*KINDS, *FILE_KINDS)
PASSED = 9  # tests, if none fails
TABLES = """
for table in "author", "book":
    op.create_table(
        table,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
op.execute("INSERT INTO author (name) VALUES ('Ada')")
"""
OTHERS = ("somebody_else", "faults_of_somebody_else")  # databases without our mark
_TRACEBACK = re.compile(
    r"INTERNALERROR|Traceback \(most recent|pytest_pgtemplate/\S+:\d+: \w+Error"
)
_MIGRATION_FAILED = "alembic upgrade heads failed"  # the traceback is that of env.py

Result = tuple[int | None, str]  # the exit code of a run, None if it hangs, and its output


class Suite:
    """A copy of the suite in ``directory``; its runs reach the server through the proxy."""

    def __init__(self, directory: Path, server: URL, proxy: URL, tracking: str) -> None:
        self._tracking = tracking
        self._root = directory / "suite"
        self._server = server
        self._wrong = directory / "wrong"
        self._preparations = directory / "preparations"
        self._environment = os.environ | {
            "FAULTS_SERVER": _urls.dsn(server),
            "FAULTS_WRONG": str(self._wrong),
            "PGTEMPLATE_URL": _urls.render(proxy.set(drivername="postgresql+psycopg")),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "TMPDIR": str(directory / "tmp"),
            "PYTHONPATH": str(PROGRAMS / "faulty_files"),
            "PYTEST_ADDOPTS": "",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # importing others takes longer than the suite
            "FAULTS_UNDER": str(directory / "cache"),
            "FAULTS_USES": str(directory / "uses"),
            "FAULTS_PREPARATIONS": str(self._preparations),
        }
        self._directory = directory
        (directory / "tmp").mkdir()
        shutil.copytree(PROGRAMS / "faults", self._root)
        versions = self._root / "migrations" / "versions"
        versions.mkdir(parents=True)
        body = "".join(f"    {line}\n" for line in TABLES.strip().splitlines())
        revision = {"name": "one", "down": None, "labels": None, "needs": None}
        (versions / "one.py").write_text(REVISION.format(**revision, body=body, downgrade=""))
        (versions.parent / "env.py").write_text(SYNC_ENV)
        (self._root / "alembic.ini").write_text(INI)

    def run(self, *, fails: bool, file_fault: str = "broken 0") -> Result:
        """Run it once. Returns the exit code, or None if it hangs, and the output."""
        for file in (self._wrong, self._directory / "uses", self._preparations):
            file.unlink(missing_ok=True)
        plugins = ["-p", "xdist.plugin", "-p", "pytest_pgtemplate.plugin", "-p", "no:cacheprovider"]
        workers = ["-n", str(WORKERS), "--dist", "loadfile"]  # so the number of calls varies little
        options = [*plugins, *workers, "-q", "-rfEs", "-o", f"pg_tracking={self._tracking}"]
        command = [sys.executable, "-m", "pytest", *options]
        process = subprocess.Popen(
            command,
            cwd=self._root,
            env=self._environment | {"FAULTS_FAIL": str(int(fails)), "FAULTS_FILE": file_fault},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=HANGS)[0]
        except subprocess.TimeoutExpired:
            # pytest prints the tracebacks of its threads then.
            subprocess.run(["pkill", "-ABRT", "-s", str(process.pid)], check=False)
            return None, process.communicate()[0].decode(errors="replace")
        return process.returncode, output.decode(errors="replace")

    @property
    def wrong_states(self) -> str:
        """What the tests of the last run have found wrong."""
        return self._wrong.read_text() if self._wrong.exists() else ""

    def databases(self) -> list[str]:
        """Return the databases on the server, except those that every server has."""
        rows = query(self._server, "SELECT datname FROM pg_database WHERE oid > 16000 ORDER BY 1")
        return [row[0] for row in rows]

    @property
    def file_uses(self) -> list[str]:
        """Return the uses of files in the last run."""
        return (self._directory / "uses").read_text().splitlines()

    def is_preparation(self, caller: Caller) -> bool:
        """Whether a preparation thread of the last run made a call, or the child that migrates."""
        text = self._preparations.read_text() if self._preparations.exists() else ""
        lines = map(str.split, text.splitlines())
        spans = {int(pid): (float(began), float(ended)) for pid, began, ended in lines}
        own = [spans[caller.pid]] if caller.pid in spans else spans.values()
        return any(began <= caller.moment <= ended for began, ended in own)

    def forget(self) -> None:
        """Drop all databases of the suite, and delete its cache."""
        shutil.rmtree(self._directory / "cache", ignore_errors=True)
        for name in set(self.databases()) - set(OTHERS):
            execute(self._server, f'ALTER DATABASE "{name}" IS_TEMPLATE false')
            execute(self._server, f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def suite_behind_proxy(
    bindir: Path | None = None, tracking: str = "triggers", role: str = "superuser"
) -> Iterator[tuple[Suite, FaultyServer]]:
    """Yield the suite and the proxy before its server, a private one with these programs."""
    with server_directory() as directory, private_server(bindir) as server:
        directory.chmod(0o755)
        for name in OTHERS:
            execute(server, f"CREATE DATABASE {name}")
        host, port = server.query["host"], server.query["port"]
        with faulty_server(directory, Path(f"{host}/.s.PGSQL.{port}")) as proxy:
            through = server.set(query={"host": str(directory), "port": "5432"})
            if role == "plain":
                execute(server, "CREATE ROLE plain LOGIN CREATEDB")
                through = through.set(username="plain")
            yield Suite(directory, server, through, tracking), proxy


class Faults(Protocol):
    """One kind of fault."""

    kind: str
    of_preparation: list[int]  # the numbers of its calls in the last run; of files, none is known
    preparations_hit: int  # how often one of them failed

    def run(self, number: int) -> Result:
        """Run the suite, and let the call or use of this number fail; the first is 1, 0: none."""

    @property
    def count(self) -> int:
        """How many calls or uses the last run had."""

    @property
    def failed(self) -> str:
        """The call or use that failed in the last run."""


class ServerFaults:
    def __init__(self, kind: str, suite: Suite, proxy: FaultyServer, text: str = "") -> None:
        self.kind = kind
        self._suite, self._proxy, self._text = suite, proxy, text
        self._fault = Fault(kind)
        self.of_preparation: list[int] = []
        self.preparations_hit = 0

    def run(self, number: int) -> Result:
        self._fault = Fault(self.kind, number, delay=1.5 * TIMEOUT, text=self._text)
        self._proxy.fault = self._fault
        try:
            result = self._suite.run(fails=True)
        finally:
            self._proxy.fault = Fault()
        callers = enumerate(self._fault.callers, start=1)
        self.of_preparation = [k for k, caller in callers if self._suite.is_preparation(caller)]
        self.preparations_hit += number in self.of_preparation
        return result

    @property
    def count(self) -> int:
        return self._fault.calls

    @property
    def failed(self) -> str:
        return self._fault.failed


class FileFaults:
    def __init__(self, kind: str, suite: Suite) -> None:
        self.kind = kind
        self._suite = suite
        self.of_preparation: list[int] = []
        self.preparations_hit = 0
        self._number = 0
        self._uses: list[str] = []

    def run(self, number: int) -> Result:
        result = self._suite.run(fails=True, file_fault=f"{self.kind} {number}")
        self._number, self._uses = number, self._suite.file_uses
        return result

    @property
    def count(self) -> int:
        return len(self._uses)

    @property
    def failed(self) -> str:
        return self._uses[self._number - 1] if 0 < self._number <= self.count else ""


def faults_of(kind: str, suite: Suite, proxy: FaultyServer) -> Faults:
    return FileFaults(kind, suite) if kind in FILE_KINDS else ServerFaults(kind, suite, proxy)


def count(suite: Suite, faults: Faults, start: str) -> int:
    """Return how many calls or uses a run has, and prepare a warm start."""
    if start == "cold":
        suite.forget()
    code, output = faults.run(0)
    assert code == 1, output
    return faults.count


def broken_rules(suite: Suite, faults: Faults, start: str, numbers: Sequence[int]) -> Iterator[str]:
    """Let each of the calls or uses fail. Yields a description of each rule that did not hold."""
    for number in numbers:
        if start == "cold":
            suite.forget()
        result, wrong = faults.run(number), suite.wrong_states
        following = suite.run(fails=False)
        broken = [*_broken_rules(result, wrong), *_broken_rules_afterwards(suite, following)]
        for rule in broken:
            output = f"{result[1]}\n----- the next run\n{following[1]}"
            yield f"{start}, {faults.kind} {number}: {rule}\n  {faults.failed[:300]}\n{output}"


def _broken_rules(result: Result, wrong: str) -> Iterator[str]:
    code, output = result
    if code is None:
        yield "the run hangs"
    elif code != 1:
        yield f"exit code {code}"
    if wrong:
        yield f"a test started in a wrong state: {wrong}"
    if _TRACEBACK.search(output) and _MIGRATION_FAILED not in output:
        yield "a traceback of the plugin"
    if not re.search(r"^(FAILED|ERROR) ", output, re.MULTILINE):
        yield "no test is reported as failed"


def _broken_rules_afterwards(suite: Suite, following: Result) -> Iterator[str]:
    code, output = following
    databases = suite.databases()
    if code != 0 or f"{PASSED} passed" not in output:
        yield f"the next run ends with {code}"
    if missing := set(OTHERS) - set(databases):
        yield f"databases of others were dropped: {missing}"
    left = [name for name in databases if name not in OTHERS and not _may_stay(name)]
    if left:
        yield f"databases are left: {left}"


def _may_stay(name: str) -> bool:
    return database_names.is_template(name) or database_names.template_of(name) is not None


def main() -> int:
    """Run the long form; return 1 if a rule did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=ALL_KINDS, nargs="+", default=ALL_KINDS)
    parser.add_argument("--start", choices=STARTS, nargs="+", default=STARTS)
    parser.add_argument("--every", type=int, default=1, help="let each N-th call fail")
    parser.add_argument("--only", type=int, nargs="+", help="let these calls fail")
    parser.add_argument(
        "--preparation", action="store_true", help="let calls of the preparation threads fail"
    )
    parser.add_argument("--bindir", type=Path, help="programs of the server")
    parser.add_argument("--tracking", choices=("triggers", "scan"), default="triggers")
    parser.add_argument("--role", choices=("superuser", "plain"), default="superuser")
    options = parser.parse_args()
    found = tried = hit = 0
    kind_of_server = options.bindir, options.tracking, options.role
    with suite_behind_proxy(*kind_of_server) as (suite, proxy):
        suite.run(fails=False)  # so that a warm start is one
        for start in options.start:
            for kind in options.kind:
                faults = faults_of(kind, suite, proxy)
                total = count(suite, faults, start)
                preparation = faults.of_preparation
                numbers = preparation if options.preparation else range(1, total + 1)
                numbers = options.only or numbers[:: options.every]
                print(
                    f"{start}, {kind}: {len(numbers)} of {total},"
                    f" of which the preparation makes {len(preparation)}",
                    flush=True,
                )
                for rule in broken_rules(suite, faults, start, numbers):
                    print(rule, flush=True)
                    found += 1
                tried += len(numbers)
                hit += faults.preparations_hit
    print(f"{tried} faults, {hit} of them in the preparation, {found} broken rules")
    return min(found, 1)


if __name__ == "__main__":
    sys.exit(main())
