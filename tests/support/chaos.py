"""Chaos: runs that start at any moment, and processes that are killed at any moment.

    cd tests; python -m support.chaos --kills 200 --seed 7

A round starts two or three runs of ``pytest -n 2`` at random offsets and kills random processes of
theirs with SIGKILL. When what is left has ended, one clean run has to be green, no process of the
runs may live, and the server may hold nothing but templates, and spares of which a dump equals the
template's. Around each step by which a database becomes a spare, or is one no more, runs wait for a
moment, so that they are killed there, too. Databases of others have to stay. Rounds take turns:

    A   the embedded server, in a cache of its own; its keeper, postmaster and backends die too
    B   two hosts (each its own HOME, TMPDIR and cache) share one server over TCP; half of these
        rounds end backends as well, by pg_terminate_backend
    P   one signal to one run on the server of B, while its thread prepares the databases; see
        chaos_preparation.py. SIGKILL of a backend is a crash of the server: the next run may report
        that the template has lost its rows, and then the run after it has to be green

Each round has a new fingerprint, so that it begins with a build. A double migration: two migrations
of one fingerprint that finished on one server, although neither a process of the first's run nor
anything of the server was killed. In a round that leaves the server alone, a run none of whose
processes was killed is a bystander and has to be green.

Only for Linux: processes are found in /proc, by a token in their environment.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from sqlalchemy.engine import URL

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._embedded import keeper as _embedded_keeper
from pytest_pgtemplate._server import Server, ServerDatabase
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares as _spares
from pytest_pgtemplate._worker import sweep as _sweep
from support import chaos_preparation
from support.chaos_preparation import Aim, wait_until
from support.databases import bindir_of, pg_dump
from support.programs import load_program
from support.projects import INI, PLAIN, SYNC_ENV, execute, query
from support.servers import private_server, tcp

WORKERS = 2
HANGS = 90.0  # seconds, after the last kill, in which every run has to end
PATIENCE = 3.0  # seconds to wait for a process of the kind that was chosen
LOST = (
    "lost the rows of its unlogged tables"  # what the first run after a crash of a server reports
)
EARLY = 0.1  # of the kills may hit a process that has not reached the server yet
LINGERS = 40.0  # seconds in which what the dead left behind has to end: execnet takes 15
TOKEN = "PGTEMPLATE_CHAOS"
RUN = "PGTEMPLATE_CHAOS_RUN"

PYTEST_INI = """[pytest]
pg_name = chaos
pg_timeout = 30
pg_fingerprint_files = round.txt
"""
# Two revisions, each long enough to be hit. The last line records which process migrates.
REVISION_ONE = """
import time
from alembic import op
revision, down_revision = "one", None

def upgrade():
    op.execute("CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, name text NOT NULL)")
    op.execute("INSERT INTO item (name) VALUES ('reference')")
    op.execute("SELECT pg_sleep(0.2)")
"""
REVISION_TWO = load_program("chaos/revision_two.py")
# Longer are the moments between the steps of taking a spare and giving it back.
CONFTEST = load_program("chaos/root_conftest.py")
TESTS_PY = load_program("chaos/tests.py")


@dataclass(frozen=True)
class Process:
    """One process that we, or something that we started, have started."""

    pid: int
    kind: str
    run: str  # the run it belongs to; none for the server
    parent: int

    def kill(self) -> bool:
        """End it, and nothing that has got its number meanwhile."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self in list(processes()):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    return True
            finally:
                os.close(handle)
        return False


@dataclass(frozen=True)
class Kill:
    kind: str
    run: str
    moment: float


@dataclass
class Run:
    """One ``pytest -n 2``."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path


@dataclass
class Figures:
    """What the final table shows: every fault has to be zero."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    spares: int = 0  # that were left, and looked into
    faults: Counter[str] = field(default_factory=Counter)


FAULTS = (
    "red follow-up runs",
    "red bystanders",
    "hanging runs",
    "databases left",
    "databases of others dropped",
    "dirty spares",
    "processes left",
    "double migrations",
)
KILL_WEIGHTS = {
    "controller": 3,
    "worker": 5,
    "migrating child": 4,
    "backend": 3,
    "keeper": 2,
    "postmaster": 2,
}  # how often each kind is chosen
ALWAYS = {"migrating child", "keeper", "postmaster", "backend"}
SERVER_KINDS = ("backend", "keeper", "postmaster")


def processes() -> Iterator[Process]:
    """Every process that bears our token, and those of the embedded server."""
    token = f"{TOKEN}={os.environ[TOKEN]}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError, ValueError):
            environment = (entry / "environ").read_bytes().split(b"\0")
            if token in environment:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    yield Process(int(entry.name), _kind(words), _run(environment), int(parent))
    yield from _server_processes()


def _kind(words: list[bytes]) -> str:
    line = b" ".join(words)
    for part, kind in (
        (b"_embedded/keeper.py", "keeper"),
        (b"_child/main.py", "migrating child"),
        (b"sys.stdin.readline", "worker"),
        (b"pytest", "controller"),
    ):
        if part in line:
            return kind
    return "other"


def _has_socket(pid: int) -> bool:
    with suppress(OSError):
        links = Path(f"/proc/{pid}/fd").iterdir()
        return any(str(link.readlink()).startswith("socket:") for link in links)
    return False


def _run(environment: list[bytes]) -> str:
    prefix = f"{RUN}=".encode()
    return next(
        (each[len(prefix) :].decode() for each in environment if each.startswith(prefix)), ""
    )


def _server_processes() -> Iterator[Process]:
    """The embedded server of our cache: it has no environment, but its data has its pid."""
    for data in Path(os.environ["XDG_CACHE_HOME"]).glob("pytest-pgtemplate/pg*/data"):
        with suppress(OSError, ValueError):
            pid, _ = _embedded_keeper.postmaster(data)
            if not pid or os.fsencode(data) not in Path(f"/proc/{pid}/cmdline").read_bytes():
                continue
            yield Process(pid, "postmaster", "", 1)
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in map(int, children):
                if b"[local]" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield Process(child, "backend", "", pid)


class Mode:
    """A server, and the environments that runs have on it."""

    name = ""
    tests = 20  # of each run

    def __init__(self, project: Path) -> None:
        self.project = project

    def environments(self) -> list[dict[str, str]]:
        raise NotImplementedError

    def server(self, stack: ExitStack) -> Server:
        raise NotImplementedError

    def weights(self) -> dict[str, int]:
        return KILL_WEIGHTS

    def kill(self, kind: str, *, early: bool) -> Process | None:
        """Kill one process of this kind; unless ``early``, one that has reached the server."""
        found = list(processes())
        begun = {process.pid for process in found if _has_socket(process.pid)}
        begun |= {process.parent for process in found if process.pid in begun}
        found = [each for each in found if each.kind == kind and (early or each.pid in begun)]
        random.shuffle(found)
        return next((process for process in found if process.kill()), None)

    def is_quiet(self) -> bool:
        """Whether nothing of the runs lives on this server."""
        return not any(process.kind != "other" for process in processes())

    def others_dropped(self) -> set[str]:
        """The databases of others that are missing."""
        return set()


class Embedded(Mode):
    name = "A"

    def environments(self) -> list[dict[str, str]]:
        return [{}]

    def server(self, stack: ExitStack) -> Server:
        handle = _embedded.acquire(None, timeout=30)
        stack.callback(handle.close)
        server = Server(_urls.parse(handle.url), timeout=30)
        stack.callback(server.close)
        return server


class TwoHosts(Mode):
    name = "B"

    def __init__(self, project: Path, work: Path, url: URL) -> None:
        super().__init__(project)
        self._hosts = [work / "host1", work / "host2"]
        self.url = url
        self.terminates = False
        for host in self._hosts:
            for directory in ("home", "tmp", "cache"):
                (host / directory).mkdir(parents=True)

    def environments(self) -> list[dict[str, str]]:
        return [
            {
                "HOME": str(host / "home"),
                "TMPDIR": str(host / "tmp"),
                "XDG_CACHE_HOME": str(host / "cache"),
                "PGTEMPLATE_URL": str(_urls.render(self.url)),
            }
            for host in self._hosts
        ]

    def server(self, stack: ExitStack) -> Server:
        server = Server(self.url, timeout=30)
        stack.callback(server.close)
        return server

    def weights(self) -> dict[str, int]:
        kinds = ["controller", "worker", "migrating child"]
        return {kind: KILL_WEIGHTS[kind] for kind in kinds + ["backend"] * self.terminates}

    def kill(self, kind: str, *, early: bool) -> Process | None:
        if kind != "backend":
            return super().kill(kind, early=early)
        pids = [row["pid"] for row in query(self.url, BACKENDS)]
        pid = random.choice(pids) if pids else None
        if pid and query(self.url, "SELECT pg_terminate_backend($1) AS done", pid)[0]["done"]:
            return Process(pid, kind, "", 0)
        return None

    def is_quiet(self) -> bool:
        return super().is_quiet() and not query(self.url, BACKENDS)

    def others_dropped(self) -> set[str]:
        return set(OTHERS) - {row["datname"] for row in query(self.url, ALL_DATABASES)}


class AtPreparation(TwoHosts):
    """One run is aimed at."""

    name = "P"
    tests = 6

    def environments(self) -> list[dict[str, str]]:
        return super().environments()[:1]


ALL_DATABASES = "SELECT datname FROM pg_database"
BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


class Chaos:
    def __init__(self, work: Path, dice: random.Random) -> None:
        self.work = work
        self.dice = dice
        self.figures = Figures()
        self._aims = 0
        self.project = work / "project"
        _write_project(self.project)

    def round(self, mode: Mode, most: int) -> None:
        """One round, with at most ``most`` kills."""
        self.figures.rounds += 1
        number = self.figures.rounds
        (self.project / "round.txt").write_text(f"{self.work} {number}")
        log = self.work / f"migrations{number}.log"
        faults: Counter[str] = Counter()

        if isinstance(mode, AtPreparation):
            runs, kills = self._aim(mode, log)
        else:
            runs, kills = self._storm(mode, min(most, self.dice.randint(4, 8)), log)
        faults["hanging runs"] = self._wait(runs)
        self._settle(mode, ("keeper", "postmaster", "backend"))
        spared = not any(kill.kind in SERVER_KINDS for kill in kills)
        hit = {kill.run for kill in kills}
        for run in runs if spared else ():
            if run.name not in hit and run.process.returncode != 0:
                faults["red bystanders"] += 1
                self._show(run)
        follow_up = self._start(mode, "clean", log, mode.environments()[0])
        faults["hanging runs"] += self._wait([follow_up])
        output = follow_up.output.read_text(errors="replace")
        if not spared and LOST in output:
            follow_up = self._start(mode, "again", log, mode.environments()[0])
            faults["hanging runs"] += self._wait([follow_up])
            output = follow_up.output.read_text(errors="replace")
        if follow_up.process.returncode != 0 or f"{mode.tests} passed" not in output:
            faults["red follow-up runs"] += 1
            self._show(follow_up)
        left = self._settle(mode, ())
        faults["processes left"] = len(left)
        databases, dirty = self._databases_left(mode)
        faults["databases left"], faults["dirty spares"] = len(databases), len(dirty)
        faults["databases of others dropped"] = len(mode.others_dropped())
        finished = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        faults["double migrations"] = _doubles(finished, kills)

        self.figures.runs += len(runs) + 1
        self.figures.kills.update(kill.kind for kill in kills)
        self.figures.faults.update(faults)
        codes = ",".join(str(run.process.returncode) for run in runs)
        done = ", ".join(
            f"{count} {kind}" for kind, count in Counter(k.kind for k in kills).items()
        )
        bad = ", ".join(f"{count} {fault}" for fault, count in faults.items() if count)
        print(
            f"round {number} {mode.name}: runs ended {codes}; killed {done or 'nothing'};"
            f" migrated {len(finished)}x; {'FAULT: ' + bad if bad else 'ok'}",
            flush=True,
        )
        for what in (*left, *databases, *dirty, *(finished if faults["double migrations"] else ())):
            print(f"    {what}", flush=True)
        if faults["double migrations"]:
            print(f"    {kills}", flush=True)

    def _storm(self, mode: Mode, kills: int, log: Path) -> tuple[list[Run], list[Kill]]:
        """Start runs and kill processes, both at random moments."""
        began = time.monotonic()
        plan: list[tuple[float, str]] = [(0.0, "start")]
        plan += [(self.dice.uniform(0, 3.0), "start") for _ in range(self.dice.randint(1, 2))]
        plan += [(self.dice.uniform(0.4, 7.0), "kill") for _ in range(kills)]
        runs: list[Run] = []
        done: list[Kill] = []
        for moment, what in sorted(plan):
            time.sleep(max(0.0, began + moment - time.monotonic()))
            if what == "start" or all(run.process.poll() is not None for run in runs):
                environment = self.dice.choice(mode.environments())
                runs.append(self._start(mode, f"run{len(runs)}", log, environment))
            if what == "kill":
                done += self._kill(mode)
        return runs, done

    def _aim(self, mode: AtPreparation, log: Path) -> tuple[list[Run], list[Kill]]:
        """Start one run, warm or cold, and send a signal while it prepares its databases."""
        number = self.figures.rounds
        aim = Aim.draw(self.work / f"aim{number}", self.dice, self._aims)
        self._aims += 1
        [environment] = mode.environments()
        runs = [] if aim.cold else [self._start(mode, "build", log, environment)]
        self._wait(runs)
        run = self._start(mode, "aimed", log, {**environment, **aim.environment}, aim.workers)
        hit = aim.send(run.process, mode.url)
        print(f"{aim}{'' if hit else ': not reached'}", flush=True)
        kind = f"preparing {aim.target}" if aim.target != "backend" else aim.target
        kills = [Kill(kind, run.name, time.monotonic())] if hit else []
        return [*runs, run], kills

    def _kill(self, mode: Mode) -> list[Kill]:
        """Choose a kind, wait for one of that kind, and take another kind if none comes."""
        weights = mode.weights()
        kinds = self.dice.choices([*weights], [*weights.values()], k=10)
        early = self.dice.random() < EARLY
        killed: Process | None = None

        def kill() -> bool:
            nonlocal killed
            killed = mode.kill(kinds[0], early=early or kinds[0] in ALWAYS)
            return killed is not None

        if not wait_until(kill, PATIENCE):
            kills = (mode.kill(kind, early=True) for kind in kinds)
            killed = next(filter(None, kills), None)
        return [Kill(killed.kind, killed.run, time.monotonic())] if killed else []

    def _start(
        self, mode: Mode, name: str, log: Path, environment: dict[str, str], workers: int = WORKERS
    ) -> Run:
        output = self.work / f"round{self.figures.rounds}-{name}.txt"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "pytest", *PLAIN, "-n", str(workers)],
                cwd=mode.project,
                env={
                    **os.environ,
                    **environment,
                    RUN: name,
                    "MIGRATION_LOG": str(log),
                    "CHAOS_TESTS": str(mode.tests),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Run(name, process, output)

    def _wait(self, runs: list[Run]) -> int:
        """Wait for runs to end; return how many had to be ended."""
        deadline = time.monotonic() + HANGS
        hanging = 0
        for run in runs:
            try:
                run.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                hanging += 1
                for process in processes():
                    if process.run == run.name and process.kind in {"controller", "worker"}:
                        os.kill(process.pid, signal.SIGABRT)  # faulthandler prints its tracebacks
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(5)
                run.process.kill()
                run.process.wait()
                self._show(run)
        return hanging

    def _settle(self, mode: Mode, stays: tuple[str, ...]) -> list[Process]:
        """Wait until only processes of the kinds in ``stays`` are left; kill and return others."""

        def left() -> list[Process]:
            return [process for process in processes() if process.kind not in stays]

        wait_until(lambda: not left() and (bool(stays) or mode.is_quiet()), LINGERS)
        found = left()
        for process in found:
            process.kill()
        return found

    def _databases_left(self, mode: Mode) -> tuple[list[str], list[str]]:
        """What should not be there, and spares that are not what their template is."""
        with ExitStack() as stack:
            server = mode.server(stack)
            databases = {base.name: base for base in server.databases()}
            rows = query(
                server.url,
                "SELECT datname FROM pg_database WHERE NOT datname = ANY($1)",
                [*OWN, *OTHERS],
            )
            left = [
                str(databases.get(name, name))
                for name in sorted(row["datname"] for row in rows)
                if name not in databases or databases[name].leased or not _may_stay(databases[name])
            ]
            spares = [base for base in databases.values() if _spares.is_spare(base)]
            dirty = [str(spare) for spare in spares if not _is_clean(server, spare)]
            self.figures.spares += len(spares)
            _sweep.prune(server, kept=True, templates=True)
        self._settle(mode, ())
        return left, dirty

    def _show(self, run: Run) -> None:
        print(f"--- {run.output.name}, exit code {run.process.returncode}", flush=True)
        print(run.output.read_text(errors="replace"), flush=True)


OWN = ["postgres", "template0", "template1"]
OTHERS = ["somebody_else", "chaos_of_somebody_else"]  # without our mark


def _may_stay(database: ServerDatabase) -> bool:
    return database.sealed or _spares.is_spare(database)


def _is_clean(server: Server, spare: ServerDatabase) -> bool:
    """Whether a dump of it equals that of a new clone of its template."""
    template = database_names.template_of(spare.name)
    assert template is not None
    assert spare.mark is not None
    names = [f"chaos_0000000{number}_main" for number in range(2)]
    server.rename(spare, names[0], replace(spare.mark, kind="worker"))
    server.clone(template, names[1], replace(spare.mark, kind="worker"))
    bindir = bindir_of(server)
    assert bindir is not None, "there is no pg_dump of the server's version"
    first, second = (pg_dump(server.url.set(database=name), bindir) for name in names)
    for name in names:
        server.drop(name)
    return first == second


def _doubles(finished: list[list[str]], kills: list[Kill]) -> int:
    """How many migrations finished that nothing excuses; see the top of this file."""
    doubles = 0
    for (run, _, began, _), (_, _, _, ended) in pairwise(finished):
        excused = any(
            kill.run == run or (kill.kind in SERVER_KINDS and float(began) - 1 < kill.moment)
            for kill in kills
            if kill.moment < float(ended)
        )
        doubles += not excused
    return doubles


def _write_project(project: Path) -> None:
    versions = project / "migrations" / "versions"
    versions.mkdir(parents=True)
    (project / "pytest.ini").write_text(PYTEST_INI)
    (project / "alembic.ini").write_text(INI)
    (project / "migrations" / "env.py").write_text(SYNC_ENV)
    (versions / "one.py").write_text(REVISION_ONE)
    (versions / "two.py").write_text(REVISION_TWO)
    (project / "conftest.py").write_text(CONFTEST + chaos_preparation.CONFTEST)
    (project / "test_chaos.py").write_text(TESTS_PY)


def _own_environment(work: Path) -> None:
    """What the embedded server of mode A, and everything else that we start, will see."""
    for name in [name for name in os.environ if name.startswith(("PYTEST", "PGTEMPLATE", "PG"))]:
        del os.environ[name]
    for name, directory in (("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("TMPDIR", "tmp")):
        (work / directory).mkdir()
        os.environ[name] = str(work / directory)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no round after")
    parser.add_argument("--modes", default="APBP", help="of the rounds, in turn")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="pgchaos", dir="/tmp"))
    work.chmod(0o755)
    _own_environment(work)
    chaos = Chaos(work, random.Random(arguments.seed))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        modes = _modes(arguments.modes, chaos.project, work, stack)
        os.environ[TOKEN] = secrets.token_hex(8)  # not for the server of mode B
        while (
            chaos.figures.kills.total() < arguments.kills
            and time.monotonic() - began < arguments.seconds
        ):
            mode = modes[chaos.figures.rounds % len(modes)]
            if isinstance(mode, TwoHosts):
                mode.terminates = not mode.terminates
            chaos.round(mode, arguments.kills - chaos.figures.kills.total())
    return _print_figures(chaos.figures, arguments.seed, time.monotonic() - began)


def _modes(wanted: str, project: Path, work: Path, stack: ExitStack) -> list[Mode]:
    modes: dict[str, Mode] = {}
    if "A" in wanted:
        modes["A"] = Embedded(project)
    if {*"BP"} & {*wanted}:
        url = stack.enter_context(private_server(max_connections=100))
        execute(url, "CREATE ROLE chaos SUPERUSER LOGIN PASSWORD 'chaos'")
        for name in OTHERS:
            execute(url, f"CREATE DATABASE {name}")
        over_tcp = tcp(url, username="chaos", password="chaos")
        modes["B"] = TwoHosts(project, work, over_tcp)
        modes["P"] = AtPreparation(project, work / "aimed", over_tcp)
    return [modes[name] for name in wanted]


def _print_figures(figures: Figures, seed: int, seconds: float) -> int:
    print(f"\nseed {seed}: {figures.rounds} rounds, {figures.runs} runs, {seconds:.0f} s")
    print(f"{figures.kills.total()} kills:")
    for kind in KILL_WEIGHTS | figures.kills:
        print(f"  {kind:20} {figures.kills[kind]:4}")
    print(f"{'spares left':22} {figures.spares:4}")
    for fault in FAULTS:
        print(f"{fault:22} {figures.faults[fault]:4}")
    return 1 if figures.faults.total() else 0


if __name__ == "__main__":
    sys.exit(main())
