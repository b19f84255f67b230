"""Transactions that a test left open: a reset ends those that block it, in limited time.

It records them as leaks. Transactions that have only read stay open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pytest_pgtemplate._reset import ResetResult, blocker_watch
from pytest_pgtemplate._reset.blocker_watch import GRACE
from pytest_pgtemplate._reset.scripts import LARGE
from pytest_pgtemplate.errors import ServerError
from support.databases import Base, Session, database, difference, run
from support.kinds import TIMEOUT, Kind
from support.programs import load_program
from support.projects import ITEM, Project, query

pytestmark = pytest.mark.full("product")  # of situations and kinds of databases

SOON = GRACE + 3.0  # seconds: GRACE, a connection, a rollback, on a slow machine
IDLE = "idle in transaction"

SCHEMA = load_program("reset_leaks/schema.sql")
AUTOVACUUM = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL
                               AND backend_type = 'autovacuum worker'
"""
FILL = f"INSERT INTO ballast SELECT g, repeat('x', 100) FROM generate_series(1, {LARGE // 100}) g"

# Each combination of tracking and role, each server twice; all eight would only take longer.
SOME = [
    Kind("triggers", "superuser", "embedded"),
    Kind("scan", "plain", "embedded"),
    Kind("triggers", "plain", "system"),
    Kind("scan", "superuser", "system"),
]


@pytest.fixture(autouse=True)
def short_grace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """If one session waits for the other, the reset has to wait for both before it ends them."""
    if "one waits for the other" not in request.node.name:
        monkeypatch.setattr(blocker_watch, "GRACE", 0.1)


@pytest.fixture(scope="module", params=SOME, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    with database(request, kind, SCHEMA) as base:
        yield base


Left = tuple[str, int | None, str]  # kind, pid, a part of the last query


def left_open(*statements: str) -> Callable[[Base], list[Left]]:
    """All but the last of them, and a transaction open in which the last was the last."""

    def leave(base: Base) -> list[Left]:
        session = base.session("leaky")
        session.execute("BEGIN", *statements)
        return [(IDLE, session.pid, statements[-1])]

    return leave


def prepared(base: Base) -> list[Left]:
    base.execute("BEGIN; INSERT INTO item (name) VALUES ('p'); PREPARE TRANSACTION 'it''s \\ mine'")
    return [("prepared transaction", None, "it's \\ mine")]


def statement_at_work(base: Base) -> list[Left]:
    statement = "INSERT INTO item (name) SELECT pg_sleep(25)::text"
    session = base.session("leaky")
    session.start(statement)
    written = "pgtemplate.log" if base.worker.tracking == "triggers" else "item"
    locked = f"relation = '{written}'::regclass AND mode = 'RowExclusiveLock'"
    wait_for(base, f"SELECT FROM pg_locks WHERE pid = {session.pid} AND {locked}")
    return [("active", session.pid, statement)]


def one_waits_for_the_other(base: Base) -> list[Left]:
    [first] = left_open("UPDATE item SET name = 'c' WHERE id = 1")(base)
    statement = "UPDATE item SET name = 'd' WHERE id = 1"
    session = base.session("leaky")
    session.start(statement)
    wait_for(base, f"SELECT FROM pg_locks WHERE pid = {session.pid} AND NOT granted")
    return [first, ("active", session.pid, statement)]


def table_lock(base: Base) -> list[Left]:
    base.execute("INSERT INTO item (name) VALUES ('c')")
    return left_open("LOCK TABLE item")(base)


def advisory_lock(base: Base) -> list[Left]:
    """A CHECK asks for it when the row comes back."""
    base.execute("DELETE FROM locking")
    return left_open("SELECT pg_advisory_xact_lock(4711)")(base)


def wait_for(base: Base, query: str) -> Any:
    """Run a query until it returns rows; return the first value, if there is one."""
    watcher = base.root()
    deadline = time.monotonic() + TIMEOUT
    while not (rows := watcher.fetch(query)):
        assert time.monotonic() < deadline, query
        time.sleep(0.005)
    return next(iter(rows[0]), None)


LEAKS: dict[str, Callable[[Base], list[Left]]] = {
    "insert": left_open("INSERT INTO item (name) VALUES ('left')"),
    "update": left_open("UPDATE item SET name = 'left'", "SELECT 1 AS the_last_one"),
    "delete that cascades": left_open("DELETE FROM item"),
    "truncate": left_open("TRUNCATE item CASCADE"),
    "change of a table": left_open("ALTER TABLE item ADD COLUMN more int"),
    "prepared": prepared,
    "statement at work": statement_at_work,
    "one waits for the other": one_waits_for_the_other,
    "table lock": table_lock,
    "advisory lock": advisory_lock,
}
# What one kind of tracking does not notice, and why.
UNNOTICED: dict[tuple[str, str, str], str] = {
    ("change of a table", "triggers", "plain"): "no event triggers: nothing was written so far"
}


@pytest.mark.parametrize("name", LEAKS)
def test_transactions_that_block_the_reset_are_ended(base: Base, kind: Kind, name: str) -> None:
    expected = LEAKS[name](base)
    if (name, kind.tracking, kind.role) in UNNOTICED:
        expected = []
    began = time.monotonic()

    outcome = base.reset()

    assert time.monotonic() - began < SOON
    assert outcome.reclone_reason is None
    found = sorted((leak.kind, leak.pid, leak.query) for leak in outcome.leaks)
    assert [(kind, pid) for kind, pid, _ in found] == [(k, p) for k, p, _ in sorted(expected)]
    for leak, (_, pid, last) in zip(
        sorted(outcome.leaks, key=lambda leak: (leak.kind, leak.pid)), sorted(expected), strict=True
    ):
        assert last in leak.query
        assert leak.application == ("leaky" if pid else None)
        assert 0 < leak.age < 25
        assert str(pid or last) in str(leak)
    base.close_sessions()
    assert difference(base.origin, base.dump()) == {}
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())


def test_a_transaction_that_only_read_is_left_alone(base: Base) -> None:
    reader = base.session()
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    before = reader.fetch("SELECT name FROM item")
    reader.execute("SAVEPOINT s", "INSERT INTO item (name) VALUES ('c')", "ROLLBACK TO s")
    base.execute("DELETE FROM item", FILL)
    reader.execute("SELECT count(*) FROM ballast")

    outcome = base.reset()

    assert outcome == ResetResult(reclone_reason=None, leaks=())
    assert difference(base.origin, base.dump()) == {}
    assert reader.fetch("SELECT name FROM item") == before
    reader.execute("COMMIT")


# What is left alone although it may disturb the next test: to look for it would cost every test.
HARMLESS = {
    "lock of an unchanged table": ["LOCK TABLE detail"],
    "lock of an unchanged row": ["SELECT * FROM item FOR UPDATE"],
    "large object": ["SELECT lo_from_bytea(0, 'x')"],
    "temporary table": ["CREATE TEMP TABLE mine (id int)", "INSERT INTO mine VALUES (1)"],
}


@pytest.mark.parametrize("name", HARMLESS)
def test_transactions_that_do_not_block_the_reset_stay_open(
    base: Base, kind: Kind, name: str
) -> None:
    if kind.tracking == "scan" and name == "lock of an unchanged table":
        pytest.xfail("scan looks into every table, so it waits for this lock and ends it")
    session = base.session()
    session.execute("BEGIN", *HARMLESS[name])

    assert base.reset() == ResetResult(reclone_reason=None, leaks=())

    session.execute("COMMIT")
    late = [leak.late for leak in base.reset().leaks]
    assert late == [True] * (name == "large object")
    assert difference(base.origin, base.dump()) == {}


# What no reset waits for, and what the next test would see if it were committed then.
LATE = {
    "change of a table": "ALTER TABLE item ADD COLUMN more int",
    "new function": "CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "new large object": "SELECT lo_from_bytea(0, 'x')",
    "changed large object": "SELECT lo_put(5000, 0, 'x')",
}


def assert_late(base: Base, pid: int | None, query: str) -> None:
    """The reset after a test reports what a test before has left open."""
    outcome = base.reset()
    [leak] = outcome.leaks
    assert (leak.late, leak.pid) == (True, pid)
    assert query in leak.query
    if outcome.reclone_reason is not None:
        base.reclone()
    assert difference(base.origin, base.dump()) == {}
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())


@pytest.mark.parametrize("name", LATE)
def test_a_commit_during_the_next_test_is_reported(base: Base, name: str) -> None:
    session = base.session("leaky")
    session.execute("BEGIN", "SAVEPOINT s", LATE[name])
    if leaks := base.reset().leaks:  # event triggers have written, or a scan waits for its lock
        assert [leak.pid for leak in leaks] == [session.pid]
        return
    session.execute("COMMIT")

    assert_late(base, session.pid, LATE[name])


@pytest.mark.parametrize("name", LATE)
def test_a_prepared_transaction_committed_during_the_next_test_is_reported(
    base: Base, name: str
) -> None:
    base.execute(f"BEGIN; {LATE[name]}; PREPARE TRANSACTION 'late'")
    if leaks := base.reset().leaks:
        assert [leak.query for leak in leaks] == ["late"]
        return
    base.execute("COMMIT PREPARED 'late'")

    assert_late(base, None, "late")


def test_ddl_that_still_runs_when_its_test_ends_is_reported(base: Base) -> None:
    """In a thread of its own, for example; it has a transaction id, and no lock so far."""
    blocker, session = base.session(), base.session("leaky")
    blocker.execute("SELECT pg_advisory_lock(4712)")
    statement = """
        DO $$ BEGIN
            PERFORM pg_current_xact_id(), pg_advisory_xact_lock(4712);
            CREATE TABLE late (id int);
        END $$
    """
    running = session.start(statement)
    wait_for(base, f"SELECT FROM pg_locks WHERE pid = {session.pid} AND NOT granted")
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())
    blocker.execute("SELECT pg_advisory_unlock(4712)")
    run(running)

    assert_late(base, session.pid, "CREATE TABLE late")


def test_a_blocker_that_the_role_may_not_end_is_an_error_in_limited_time(
    base: Base, kind: Kind
) -> None:
    session = base.root()
    session.execute("BEGIN", "INSERT INTO item (name) VALUES ('by a superuser')")
    began = time.monotonic()

    if kind.superuser:
        assert [leak.pid for leak in base.reset().leaks] == [session.pid]
    else:
        with pytest.raises(ServerError):
            base.reset()
        session.execute("ROLLBACK")
    assert time.monotonic() - began < SOON

    assert base.reset() == ResetResult(reclone_reason=None, leaks=())
    assert difference(base.origin, base.dump()) == {}


def test_a_session_of_another_database_is_not_ended(base: Base, kind: Kind) -> None:
    """It has locked a catalog that all databases share, and that large objects are in."""
    if not kind.superuser:
        pytest.skip("only a superuser may end any session")
    other = Session(base.root_url.set(database="postgres"))
    base.execute("SELECT lo_unlink(5000)")
    other.execute("BEGIN", "LOCK TABLE pg_catalog.pg_shdepend")
    of_watch = "FROM pg_stat_activity WHERE query LIKE '-- What blocks%' AND state = 'idle'"
    with ThreadPoolExecutor() as pool:
        resetting = pool.submit(base.reset)
        first = wait_for(base, f"SELECT query_start::text {of_watch}")
        wait_for(base, f"SELECT {of_watch} AND query_start > '{first}'")  # it has looked twice

        assert other.is_open
        other.execute("ROLLBACK")
        assert resetting.result(SOON) == ResetResult(reclone_reason=None, leaks=())
    other.close()
    assert difference(base.origin, base.dump()) == {}


def test_a_session_of_which_nothing_is_known(base: Base) -> None:
    session = base.root()
    session.execute("SET track_activities = off", "BEGIN", "DELETE FROM item")

    if base.server.facts.superuser:
        [leak] = base.reset().leaks
        assert (leak.pid, leak.age) == (session.pid, 0)
        assert str(session.pid) in str(leak)
    else:
        session.execute("ROLLBACK")


def test_a_late_commit_of_a_session_of_which_nothing_is_known(base: Base) -> None:
    session = base.root()
    session.execute("SET track_activities = off", "BEGIN", "SELECT lo_create(0)")
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())
    session.execute("COMMIT")

    outcome = base.reset()

    [leak] = outcome.leaks
    assert (leak.late, leak.pid, leak.age) == (True, session.pid, 0)
    assert str(session.pid) in str(leak)
    if outcome.reclone_reason is not None:  # another role's
        base.reclone()


def test_a_lost_connection_costs_a_clone(base: Base) -> None:
    base.execute("INSERT INTO item (name) VALUES ('c')")
    base.as_root(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE '%reset'"
    )

    assert base.reset().reclone_reason is not None

    base.reclone()
    assert difference(base.origin, base.dump()) == {}


def test_a_prepared_transaction_that_only_read_keeps_no_database(base: Base) -> None:
    base.execute("BEGIN; SELECT * FROM item; PREPARE TRANSACTION 'r'")

    assert base.reset() == ResetResult(reclone_reason=None, leaks=())

    base.reclone()
    assert base.server._fetch("SELECT FROM pg_prepared_xacts WHERE gid = 'r'") == []


@pytest.mark.full
def test_a_transaction_that_waits_for_a_vacuum_is_ended_too(base: Base) -> None:
    """A reset after which a table wants a VACUUM; the next test locks that table, and leaves it."""
    session = base.session("leaky")
    session.execute("BEGIN", "SELECT FROM ballast")  # so that it is not truncated
    base.execute(FILL)
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())
    session.execute("INSERT INTO ballast VALUES (1)", "LOCK TABLE ballast")
    began = time.monotonic()

    outcome = base.reset()

    assert time.monotonic() - began < SOON + GRACE
    assert [leak.pid for leak in outcome.leaks] == [session.pid]
    assert difference(base.origin, base.dump()) == {}


@pytest.mark.full
def test_a_transaction_of_autovacuum_is_not_one_of_a_test(base: Base, kind: Kind) -> None:
    """It is open at the end of a reset, and commits before a test changes what has no lock."""
    if kind.server != "system":
        pytest.skip("autovacuum starts once a minute")
    session = base.session()
    session.execute("SELECT pg_advisory_lock(4712)")
    base.execute("INSERT INTO analyzed SELECT generate_series(1, 10000)")
    wait_for(base, AUTOVACUUM)

    assert base.reset() == ResetResult(reclone_reason=None, leaks=())

    session.execute("SELECT pg_advisory_unlock(4712)")
    wait_for(base, f"SELECT WHERE NOT EXISTS ({AUTOVACUUM})")
    base.execute("SELECT lo_unlink(5000)")
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())


# From outside: what pytest makes of it. More of that is in test_isolation.py.

LEAKY = """
import psycopg
import pytest
from sqlalchemy import text

left = []

def names(session):
    return session.scalars(text("SELECT name FROM item ORDER BY id")).all()
"""


@pytest.fixture
def items(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    return project


def test_the_report_of_a_leak_names_session_or_prepared_transaction(items: Project) -> None:
    items.write(
        "test_leak.py",
        LEAKY
        + load_program("reset_leaks/the_report_of_a_leak_names_session_or_prepared_transaction.py"),
    )

    result = items.run_workers("-rP", workers=1)

    result.assert_outcomes(passed=3, errors=2)
    text = result.stdout.str()
    pid = text.partition("it is <")[2].partition(">")[0]
    result.stdout.fnmatch_lines_random(
        [
            f"*idle in transaction, pid {pid}, application my job, * s old: *the last thing*",
            "*prepared transaction, * s old: *my transaction*",
        ]
    )


def test_data_of_a_module_lasts_as_long_as_the_module(items: Project) -> None:
    items.write(
        "test_module.py",
        LEAKY + load_program("reset_leaks/data_of_a_module_lasts_as_long_as_the_module.py"),
    )
    items.write(
        "test_next.py",
        LEAKY
        + """
@pytest.mark.pg(scope="session")
def test_begins_clean(pg_sync_session):
    assert names(pg_sync_session) == ["reference"]
    pg_sync_session.execute(text("DELETE FROM item"))
    pg_sync_session.commit()

@pytest.mark.pg(scope="session")
def test_goes_on(pg_sync_session):
    assert names(pg_sync_session) == []
""",
    )

    items.run_workers(workers=1).assert_outcomes(passed=5)


def test_a_database_that_was_kept_can_be_looked_at_and_dropped(items: Project) -> None:
    items.write(
        "test_kept.py",
        LEAKY
        + """
def test_fails(pg_sync_session):
    pg_sync_session.execute(text("UPDATE item SET name = 'as the test left it'"))
    pg_sync_session.commit()
    assert False

def test_is_clean(pg_sync_session):
    assert names(pg_sync_session) == ["reference"]
""",
    )

    result = items.run_workers("--pg-keep-failed", workers=1)

    result.assert_outcomes(passed=1, failed=1)
    [kept] = [name for name in items.databases() if "_tpl_" not in name]
    [row] = query(items.server.url, "SELECT name FROM item", database=kept)
    assert row["name"] == "as the test left it"
    items.server.drop(kept)
    assert kept not in items.databases()
