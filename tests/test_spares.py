"""Spares: a database that equals a new clone is kept and used again; any other is dropped."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import asyncpg
import pytest

from pytest_pgtemplate._reset import install
from pytest_pgtemplate._server import Mark, Server, ServerDatabase
from pytest_pgtemplate._server.quoting import quote_identifier
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase, spares, sweep
from pytest_pgtemplate.errors import NotOursError
from support.databases import EVERYTHING, RUN, Base, Session, database, difference, make_template
from support.kinds import KINDS
from support.programs import load_program
from support.projects import COUNTED, ITEM, TESTS, Project, execute, query

SCHEMA = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (0, 'old')"


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.write("test_it.py", TESTS)
    return project


@pytest.fixture
def template(server: Server, prefix: str) -> Iterator[Template]:
    yield make_template(server, prefix, SCHEMA, "auto")
    for each in server.databases():
        if each.name.startswith(f"{prefix}_"):
            server.drop(each.name)


MakeWorker = Callable[..., WorkerDatabase]


@pytest.fixture
def make_worker() -> Iterator[MakeWorker]:
    """A function that starts workers, each with its own database."""
    with ExitStack() as stack:

        def make_worker(
            server: Server, template: Template, number: int = 0, run: str = RUN
        ) -> WorkerDatabase:
            prefix = template.name.partition("_tpl_")[0]
            worker = WorkerDatabase(
                server, template, database_names.worker(prefix, run, f"gw{number}"), run
            )
            stack.callback(worker.resetter.close)
            return worker

        yield make_worker


def list_spares(template: Template, server: Server) -> list[str]:
    return [each.name for each in spares.list_spares(template.name, server.databases())]


def identity(server: Server, name: str) -> int:
    """A value that a rename keeps and no clone has."""
    oid: int = query(server.url, "SELECT oid FROM pg_database WHERE datname = $1", name)[0][0]
    return oid


# Runs


def test_the_second_run_clones_nothing(shop: Project) -> None:
    first = shop.run("--pg-stats")
    assert "clone" in str(first.stdout)
    (spare,) = shop.spares()
    before = identity(shop.server, spare)
    for _ in range(2):
        result = shop.run("--pg-stats")
        result.assert_outcomes(passed=4)
        result.stdout.fnmatch_lines(["pgtemplate: template * reused; 1 database (1 spare), *"])
        result.stdout.fnmatch_lines(["  main: template *, spare *"])
        (spare,) = shop.spares()
        assert identity(shop.server, spare) == before
    assert [name for name in shop.databases() if "_tpl_" not in name] == []


def test_workers_take_the_spares_of_other_workers(shop: Project) -> None:
    shop.run_workers().assert_outcomes(passed=4)
    made = {identity(shop.server, name) for name in shop.spares()}
    assert len(made) == 2
    result = shop.run_workers()
    result.assert_outcomes(passed=4)
    assert "2 databases (2 spares)" in str(result.stdout)
    assert {identity(shop.server, name) for name in shop.spares()} == made


def test_a_rebuilt_template_has_no_spares_yet(shop: Project) -> None:
    shop.run().assert_outcomes(passed=4)
    (old,) = shop.spares()
    result = shop.run("--pg-rebuild")
    result.assert_outcomes(passed=4)
    assert "(1 spare)" not in str(result.stdout)
    assert old not in shop.spares()
    result = shop.run()
    assert "1 database (1 spare)" in str(result.stdout)


def test_a_database_that_is_kept_is_as_old_as_its_run(shop: Project) -> None:
    """Also if it was a spare for a long time: the sweep of the next run leaves it."""
    shop.run().assert_outcomes(passed=4)
    [spare] = shop.spares()
    found = shop.server.find(spare)
    assert found is not None
    assert found.mark is not None
    shop.server._comment(spare, replace(found.mark, created=1))

    shop.run("--pg-keep").assert_outcomes(passed=4)

    [kept] = [name for name in shop.databases() if "_tpl_" not in name]
    shop.run().assert_outcomes(passed=4)
    assert kept in shop.databases()


CHANGES = {"DDL": "DROP TABLE item CASCADE", "refresh": "REFRESH MATERIALIZED VIEW names"}


@pytest.mark.parametrize(
    "how",
    [
        *CHANGES,
        *(
            pytest.param(how, marks=pytest.mark.full)
            for how in ("--pg-keep", "--pg-keep-failed", "clone")
        ),
    ],
)
def test_a_spare_replaces_a_clone(shop: Project, how: str) -> None:
    shop.revision("two", 'op.execute("CREATE MATERIALIZED VIEW names AS SELECT name FROM item")')
    shop.run_workers().assert_outcomes(passed=4)
    assert len(shop.spares()) == 2
    made = {identity(shop.server, name) for name in shop.spares()}
    shop.write(
        "test_it.py",
        f"""
        import pytest
        from sqlalchemy import text

        @pytest.mark.pg(isolation="{"clone" if how == "clone" else "truncate"}")
        def test_first(pg_sync_session):
            pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('mine')"))
            pg_sync_session.execute(text({CHANGES.get(how, "SELECT 1")!r}))
            pg_sync_session.commit()
            assert {how!r} != "--pg-keep-failed"

        def test_second(pg_sync_session):
            query = "SELECT oid FROM pg_database WHERE datname = current_database()"
            print("oid", pg_sync_session.scalar(text(query)))
            for each in ("item", "names"):
                names = pg_sync_session.scalars(text(f"SELECT name FROM {{each}}")).all()
                assert names == ["reference"]
        """,
    )
    result = shop.run("-rP", *[how] * how.startswith("--"))
    failed = int(how == "--pg-keep-failed")
    result.assert_outcomes(passed=2 - failed, failed=failed)
    (oid,) = (int(line[4:]) for line in result.outlines if line.startswith("oid "))
    assert oid in made
    kept = [name for name in shop.databases() if "_tpl_" not in name]
    assert len(kept) == how.startswith("--")


# Which databases become spares


@pytest.mark.full("one")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_spare_equals_the_template_after_any_number_of_uses(
    request: pytest.FixtureRequest, kind: object
) -> None:
    """Rows are restored and layers added and removed many times, by several sessions."""
    generations = 20 if request.config.getoption("--full") else 6
    dice = random.Random(7)
    with database(request, kind, EVERYTHING) as base:  # type: ignore[arg-type]
        template, name = base.worker.database.template, base.worker.database.name
        original = identity(base.server, name)
        for generation in range(generations):
            pid = _live(base, dice)
            base._leave()
            base.wait_for_end(pid)  # a session that is still there may keep it from becoming one
            base.worker.close()
            assert len(list_spares(template, base.server)) == 1, f"generation {generation}"
            base.worker = WorkerDatabase(base.server, template, name, RUN)
            assert base.worker.from_spare
            assert difference(base.origin, base.dump()) == {}, f"generation {generation}"
        assert identity(base.server, name) == original


def _live(base: Base, dice: random.Random) -> int:
    """One run: a layer, tests on top of it, and a last test without a reset."""
    tables = sorted(name for name in base.origin if "." in name and name not in NEVER_THE_SAME)
    session = base.session()
    for step in range(4):
        for table in dice.sample(tables, 3):
            with suppress(asyncpg.PostgresError):
                session.execute(dice.choice(DAMAGES).format(table))
        if step == 0 and base.worker.resetter.add_layer(1).reclone_reason is None:
            continue
        if step < 3:
            base.worker.reset()
    return session.pid


NEVER_THE_SAME = {"public.grandfathered"}  # its own constraint does not let its rows come back
DAMAGES = [
    "DELETE FROM {}",
    "TRUNCATE {} CASCADE",
    "INSERT INTO {0} SELECT * FROM {0} LIMIT 3",
    "SELECT nextval('{}')",
    "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
]


OUTSIDE: dict[str, Callable[[str], str]] = {
    "a setting": lambda name: f"ALTER DATABASE {name} SET work_mem = '1MB'",
    "a setting for a role": lambda name: (
        f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET work_mem = '1MB'"
    ),
    "a privilege": lambda name: f"GRANT CREATE ON DATABASE {name} TO PUBLIC",
    "a limit": lambda name: f"ALTER DATABASE {name} CONNECTION LIMIT 7",
    "a comment": lambda name: f"COMMENT ON DATABASE {name} IS 'mine'",
    "a table": lambda _: "CREATE TABLE another ()",
    "a prepared transaction": lambda _: "BEGIN; DELETE FROM item; PREPARE TRANSACTION 'spare'",
    "bloat": lambda _: (
        "INSERT INTO item SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) AS n;"
        "DELETE FROM item WHERE id > 0"
    ),
}


@pytest.mark.parametrize("what", OUTSIDE)
def test_a_database_with_a_change_that_no_reset_restores_becomes_no_spare(
    server: Server, make_worker: MakeWorker, template: Template, what: str
) -> None:
    worker = make_worker(server, template)
    name = worker.database.name
    try:
        execute(server.url, OUTSIDE[what](quote_identifier(name)), database=name)
    except asyncpg.ObjectNotInPrerequisiteStateError:
        pytest.skip("the server has no room for prepared transactions")
    worker.close()
    assert list_spares(template, server) == []
    assert server.find(name) is None
    assert not make_worker(server, template).from_spare


def test_an_idle_session_is_ended_when_its_database_becomes_a_spare(
    server: Server, make_worker: MakeWorker, template: Template
) -> None:
    """Many applications never close their pool, so such sessions are common."""
    worker = make_worker(server, template)
    session = Session(worker.database.url)
    session.execute("INSERT INTO item (name) VALUES ('new')", "CREATE TEMP TABLE mine (id int)")
    worker.close()
    session.close()
    assert len(list_spares(template, server)) == 1
    worker = make_worker(server, template)
    names = query(worker.database.url, "SELECT name FROM item")
    assert [row["name"] for row in names] == ["old"]


@pytest.mark.parametrize("statement", ["BEGIN", "BEGIN; DELETE FROM item"])
def test_a_database_with_an_active_session_becomes_no_spare(
    server: Server, make_worker: MakeWorker, template: Template, statement: str
) -> None:
    worker = make_worker(server, template)
    session = Session(worker.database.url)
    session.execute(statement)
    worker.close()
    session.close()
    assert list_spares(template, server) == []
    assert server.find(worker.database.name) is None


def test_a_spare_has_the_settings_and_privileges_of_the_template(
    server: Server, make_worker: MakeWorker, prefix: str, template: Template
) -> None:
    """They equal those of a clone, so the database need not be dropped."""
    again = template._replace(name=database_names.template(prefix, "e" * 64), fingerprint="e" * 64)
    scratch = database_names.scratch(prefix, RUN)
    server.create(scratch, Mark("scratch", RUN))
    quoted = quote_identifier(scratch)
    execute(server.url, f"ALTER DATABASE {quoted} SET work_mem = '1MB'")
    execute(server.url, f"REVOKE TEMP ON DATABASE {quoted} FROM PUBLIC")
    execute(server.url.set(database=scratch), SCHEMA)
    state = install(server.url.set(database=scratch), "scan", timeout=60)
    server.publish(scratch, again.name, Mark("template", RUN, again.fingerprint, state=state))
    for expected in (False, True, True):
        worker = make_worker(server, again)
        assert worker.from_spare is expected
        assert query(worker.database.url, "SHOW work_mem")[0][0] == "1MB"
        worker.close()


def test_a_spare_allows_no_connections(
    server: Server, make_worker: MakeWorker, template: Template
) -> None:
    make_worker(server, template).close()
    (spare,) = list_spares(template, server)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        query(server.url, "SELECT 1", database=spare)
    worker = make_worker(server, template)
    assert query(worker.database.url, "SELECT name FROM item")[0][0] == "old"


# Concurrency and crashes


def test_two_processes_never_get_the_same_spare(
    server: Server, make_worker: MakeWorker, template: Template
) -> None:
    with ExitStack() as stack:
        servers = [Server(server.url, timeout=60) for _ in range(8)]
        for each in servers:
            stack.callback(each.close)
        for first in [make_worker(servers[n], template, n) for n in range(5)]:
            first.close()
        assert len(list_spares(template, server)) == 5
        together = threading.Barrier(8)
        taken: list[WorkerDatabase] = []

        def take(number: int) -> None:
            together.wait(30)
            taken.append(make_worker(servers[number], template, number, "11111111"))

        threads = [threading.Thread(target=take, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sum(got.from_spare for got in taken) == 5
        assert len({identity(server, got.database.name) for got in taken}) == 8
        assert list_spares(template, server) == []


def test_the_databases_of_a_killed_run_are_swept_and_become_no_spares(
    own_server: Server, prefix: str, make_worker: MakeWorker
) -> None:
    template = make_template(own_server, prefix, SCHEMA, "auto")
    with closing(Server(own_server.url, timeout=60)) as other:
        make_worker(own_server, template).close()
        worker = make_worker(other, template)
        assert worker.from_spare
        making = database_names.spare(
            template.name
        )  # what is being made a spare is none before its mark
        other.lease(making)
        other.clone(template.name, making, Mark("worker", RUN, template.fingerprint))
        assert sweep.sweep(own_server, prefix) == []
        assert list_spares(template, own_server) == []
        worker.resetter.close()
    assert set(sweep.sweep(own_server, prefix)) == {worker.database.name, making}


def test_a_database_becomes_no_spare_after_the_connection_was_lost(
    server: Server, make_worker: MakeWorker, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the server may have lost the last commits, including those of the last reset."""
    other = Server(server.url, timeout=60)
    worker = make_worker(other, template)
    pid = other._fetch("SELECT pg_backend_pid()")[0][0]
    close = worker.resetter.close

    def close_and_crash() -> None:
        close()
        execute(server.url, f"SELECT pg_terminate_backend({pid}, 5000)")

    monkeypatch.setattr(worker.resetter, "close", close_and_crash)
    worker.close()
    assert list_spares(template, server) == []
    assert server.find(worker.database.name) is None
    other.close()


# Spares that are cloned in advance


def test_a_spare_used_for_a_reclone_is_replaced_in_the_background(
    server: Server, make_worker: MakeWorker, template: Template
) -> None:
    worker = make_worker(server, template)
    for _ in range(3):
        worker.reclone()
        worker._spare_pool.wait()
        (spare,) = list_spares(template, server)
        expected = identity(server, spare)
        worker.reclone()
        assert identity(server, worker.database.name) == expected
        worker._spare_pool.wait()
    worker.close()
    assert len(list_spares(template, server)) == 2


@pytest.mark.parametrize("load", [0.0, 1000.0], ids=["idle", "busy"])
def test_the_worker_that_built_the_template_clones_spares_for_the_others(
    server: Server,
    make_worker: MakeWorker,
    template: Template,
    monkeypatch: pytest.MonkeyPatch,
    load: float,
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, load, load))
    prefix = template.name.partition("_tpl_")[0]
    other = Server(server.url, timeout=60)
    make_worker(other, template, 1)
    builder = make_worker(server, template, 0)
    builder.prepare([database_names.worker(prefix, RUN, f"gw{number}") for number in (1, 2, 3)])
    builder._spare_pool.wait()
    assert len(list_spares(template, server)) == (2 if load == 0 else 0)
    assert make_worker(server, template, 2).from_spare is (load == 0)
    other.close()


def test_the_first_run_clones_spares_for_its_workers(shop: Project) -> None:
    """One worker needs no database until the other worker has cloned one for it."""
    shop.write(
        "test_it.py",
        load_program("spares/the_first_run_starts_them.py"),
    )
    result = shop.run_workers("--pg-stats")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*2 databases (1 spare)*", "  gw?: *", "  gw?: *"])


# Limits


def a_spare(template: str, used: int, build: str = RUN) -> ServerDatabase:
    mark = Mark("spare", RUN, "f" * 64, build, used=used)
    return ServerDatabase(database_names.spare(template), False, 0, mark, False)


def a_template(name: str) -> ServerDatabase:
    return ServerDatabase(name, True, 0, Mark("template", RUN, "f" * 64), False)


def test_the_oldest_spares_above_the_limits_are_surplus() -> None:
    templates = [database_names.template("t", f"{n:012x}") for n in range(6)]
    there = [a_template(name) for name in templates]
    many = [a_spare(templates[0], used) for used in range(spares.MAX_PER_TEMPLATE + 2)]
    assert spares.surplus_spares(there + many) == [each.name for each in (many[1], many[0])]
    all_of_them = [a_spare(name, 100 + n) for n, name in enumerate(templates * 12)]
    surplus = spares.surplus_spares(there + all_of_them)
    excess = len(all_of_them) - spares.MAX_SPARES
    assert surplus == [each.name for each in reversed(all_of_them[:excess])]


def test_the_spares_of_a_removed_template_are_surplus() -> None:
    name = database_names.template("t", "0" * 12)
    good, old = a_spare(name, 1), a_spare(name, 2, build="11111111")
    orphan = a_spare(database_names.template("t", "1" * 12), 3)
    assert set(spares.surplus_spares([a_template(name), good, old, orphan])) == {
        old.name,
        orphan.name,
    }


def test_a_database_becomes_no_spare_above_the_limit(
    server: Server, make_worker: MakeWorker, template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spares, "MAX_PER_TEMPLATE", 1)
    for each in [make_worker(server, template, n) for n in range(2)]:
        each.close()
    assert len(list_spares(template, server)) == 1


def test_a_database_without_a_mark_but_with_the_name_of_a_spare_is_left_alone(
    server: Server, make_worker: MakeWorker, template: Template
) -> None:
    """It is not taken, renamed or dropped."""
    prefix = template.name.partition("_tpl_")[0]
    name = database_names.spare(template.name)
    execute(server.url, f"CREATE DATABASE {quote_identifier(name)}")
    try:
        assert not make_worker(server, template).from_spare
        found = server.find(name)
        assert found is not None
        with pytest.raises(NotOursError):
            server.rename(found, f"{prefix}_{RUN}_gw7", Mark("worker", RUN))
        with pytest.raises(NotOursError):
            server.disallow_connections(found)
        assert name not in sweep.sweep(server, prefix)
    finally:
        execute(server.url, f"DROP DATABASE {quote_identifier(name)}")
