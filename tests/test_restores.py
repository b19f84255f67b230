"""Run each row of the table in docs/restores.md: changes that a test makes, by role and tracking.

A reset must restore a change, or detect it, so that the database is re-cloned. The table also lists
the changes that a reset neither restores nor detects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from pytest_pgtemplate._reset import ResetResult
from pytest_pgtemplate._worker import WorkerDatabase, WorkerOptions, spares
from pytest_pgtemplate.errors import ServerError
from support.databases import RUN, Base, database, difference
from support.kinds import KINDS, Kind, url_of
from support.projects import execute, unique

pytestmark = pytest.mark.full("product")  # of situations and kinds of databases

ROOT = Path(__file__).parents[1]
SCRIPT = (ROOT / "tests" / "support" / "hostile.sql").read_text("utf-8")
AS_ROOT = (ROOT / "tests" / "support" / "hostile_root.sql").read_text("utf-8")
COLUMNS = [(role, tracking) for role in ("superuser", "plain") for tracking in ("triggers", "scan")]
CELLS = {"restored", "re-cloned", "not seen", "refused"}

Situation = str | list[str] | Callable[[Base], None]


def read_table() -> dict[str, dict[tuple[str, str], str]]:
    """What the page says of each row, by role and tracking."""
    lines = (ROOT / "docs" / "restores.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {
        re.sub("`|\\[|\\]\\(.*?\\)", "", row[0]): dict(zip(COLUMNS, row[1:], strict=True))
        for row in rows
        if CELLS.issuperset(row[1:])
    }


TABLE = read_table()

# Helpers that users have, to empty "all" tables; not those whose rows no reset can insert again.
TABLES = """
      FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
       AND schemaname !~ '^pg_temp' AND tableowner = current_user
       AND tablename !~ 'grown|shouted|zoned|tenanted|parent|orphan|node'
"""
EACH_TABLE = f"""
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) {TABLES} LOOP
        EXECUTE '%s ' || name || '%s';
    END LOOP;
END
$$
"""
ALL_TABLES = f"""
DO $$
BEGIN
    EXECUTE (
        SELECT 'TRUNCATE '
            || string_agg(quote_ident(schemaname) || '.' || quote_ident(tablename), ', ')
            || ' RESTART IDENTITY CASCADE'
        {TABLES});
END
$$
"""


def keep_cached_values(base: Base, table: str) -> None:
    pool = base.session("a pool that outlives the test")
    insert = f"INSERT INTO {table} DEFAULT VALUES RETURNING id"
    first = pool.value(insert)
    base.reset()
    assert pool.value(insert) == first == 1


def cancel_drop_index(base: Base) -> None:
    """It commits in between, and leaves an index that is not valid."""
    reader, session = base.session(), base.session()
    reader.execute("BEGIN", "SELECT FROM item")
    session.execute("SET statement_timeout = '300ms'")
    with pytest.raises(asyncpg.QueryCanceledError):
        session.execute("DROP INDEX CONCURRENTLY item_name")
    reader.execute("ROLLBACK")


def change_and_reset(base: Base, change: str) -> None:
    """A reset that has noticed a change does not take it for the state of the next one."""
    base.execute(change)
    assert base.reset().reclone_reason is not None


SITUATIONS: dict[str, list[Situation]] = {
    "rows inserted, updated, deleted, truncated, copied": [
        "INSERT INTO item (name) VALUES ('c')",
        "UPDATE item SET name = 'z'",
        "DELETE FROM item",
        ["TRUNCATE item RESTART IDENTITY", "INSERT INTO item VALUES (7, 'g')"],
        lambda base: base.session().copy("item", [(9, "i")]),
        "UPDATE odd SET rows = 9",
    ],
    "every table truncated or emptied by a helper": [
        EACH_TABLE % ("TRUNCATE", " CASCADE"),
        ALL_TABLES,
        [EACH_TABLE % ("DELETE FROM", ""), "INSERT INTO item (name) VALUES ('c')"],
        ["INSERT INTO item (name) VALUES ('c')", ALL_TABLES, "DELETE FROM parent", ALL_TABLES],
    ],
    "triggers that write elsewhere": [
        "INSERT INTO event VALUES (1, '2019-02-02'), (5, '2024-02-02')",
        "DELETE FROM event",
        "DELETE FROM event_new_1",
    ],
    "rows of a table with array_nulls, or a search path of its own": [
        "UPDATE listed SET words = '{}'",
        "DELETE FROM listed",
        "DELETE FROM sized",
        ["INSERT INTO event VALUES (3, '2024-01-01')", "DELETE FROM item"],
    ],
    "a stored generated column whose expression gives another value today": [
        "UPDATE shouted SET name = 'z' WHERE id = 1",
        "DELETE FROM shouted",
        "DELETE FROM zoned",
        "DELETE FROM tenanted",
    ],
    "a parent inserted for an orphan of a key NOT VALID": [
        "INSERT INTO parent VALUES (5)",
        "INSERT INTO parent VALUES (6)",
        "INSERT INTO node VALUES (7, NULL)",
        "INSERT INTO parent VALUES (5), (6), (7); DELETE FROM item",
    ],
    "a row that violates a CHECK NOT VALID, updated or deleted": [
        "UPDATE grown SET size = 5 WHERE id = 1",
        "DELETE FROM grown",
    ],
    "such a row, while others are inserted": ["INSERT INTO grown VALUES (9, 9)"],
    "sequences": [
        "SELECT nextval('bare_id_seq')",
        "BEGIN; SELECT nextval('bare_id_seq'); ROLLBACK",
        "SELECT pg_catalog.setval('bare_id_seq', 9, false)",
        ["SELECT nextval('bare_id_seq')", "SELECT pg_catalog.setval('bare_id_seq', 3, false)"],
    ],
    "sequences with CACHE, and a pool that outlives the test": [
        lambda base: keep_cached_values(base, "cached_key"),
        lambda base: keep_cached_values(base, "cached_identity"),
    ],
    "large objects": [
        "SELECT lo_from_bytea(0, 'new')",
        "SELECT lo_put(100, 0, 'changed')",
        "SELECT lo_unlink(100)",
        "SELECT lo_unlink(101)",
        "SELECT lo_unlink(102)",
        "SELECT lo_unlink(101), lo_from_bytea(101, 'granted')",
        "SELECT lo_unlink(102), lo_from_bytea(102, 'noted')",
    ],
    "privileges of and comments on large objects": [
        "GRANT UPDATE ON LARGE OBJECT 100 TO PUBLIC",
        "REVOKE ALL ON LARGE OBJECT 101 FROM PUBLIC",
        "COMMENT ON LARGE OBJECT 100 IS 'mine'",
        "COMMENT ON LARGE OBJECT 102 IS NULL",
    ],
    "a table of another role that this one may write to": [
        ["INSERT INTO granted VALUES (2, 2)", "UPDATE granted SET n = 9"],
    ],
    "a table of another role that this one may only read": [
        "SELECT book(2, 20)",
        "SELECT rebook(1, 99)",
    ],
    "a table of another role that this one may insert into": [
        "INSERT INTO inserted_only VALUES (1)"
    ],
    "a table of another role that this one may not read": [
        "SELECT hide(2)",
        "INSERT INTO inserted_blind VALUES (1)",
    ],
    "a sequence with USAGE only": ["SELECT nextval('usable')"],
    "a sequence with UPDATE only": [
        "SELECT nextval('updatable')",
        "SELECT pg_catalog.setval('updatable', 7, false)",
    ],
    "tables, columns, indexes, functions, types, views": [
        "CREATE TABLE more ()",
        "ALTER TABLE item ADD more int",
        "CREATE INDEX ON item (name)",
        "CREATE OR REPLACE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
        "ALTER SEQUENCE item_id_seq OWNED BY NONE",
        "ALTER SEQUENCE item_id_seq OWNED BY bare.id",
        ["INSERT INTO odd VALUES (3, 'c')", "REFRESH MATERIALIZED VIEW CONCURRENTLY viewed"],
    ],
    "privileges of and comments on other objects": [
        "GRANT SELECT ON item TO PUBLIC",
        "COMMENT ON TABLE item IS 'mine'",
    ],
    "CLUSTER, and a cancelled DROP INDEX CONCURRENTLY": [
        "CLUSTER item USING item_name",
        cancel_drop_index,
    ],
    "event triggers": [
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION noted()",
        "ALTER EVENT TRIGGER theirs DISABLE",
        "DROP EVENT TRIGGER theirs",
        lambda base: change_and_reset(base, "ALTER EVENT TRIGGER theirs DISABLE"),
    ],
    "user mappings": ["CREATE USER MAPPING FOR CURRENT_USER SERVER nowhere"],
    "members of an extension": ["ALTER EXTENSION plpgsql ADD FUNCTION smallest()"],
    "privileges of and comments on built-in functions": [
        "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO pg_read_all_stats",
        "COMMENT ON FUNCTION lower(text) IS 'mine'",
    ],
    "temporary objects": ["CREATE TEMP TABLE mine (id int); INSERT INTO item (name) VALUES ('c')"],
}  # fmt: skip
EACH = [(row, n) for row, situations in SITUATIONS.items() for n in range(len(situations))]


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    with database(request, kind, SCRIPT, WorkerOptions(verify=True), AS_ROOT) as base:
        yield base


def test_every_row_of_the_table_is_run() -> None:
    assert TABLE.keys() == SITUATIONS.keys()


OWN_SCHEMA = """
CREATE SCHEMA pgtemplate;
CREATE TABLE pgtemplate.log (id int PRIMARY KEY);
INSERT INTO pgtemplate.log VALUES (1);
"""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tracking == "scan"], ids=str)
def test_a_schema_of_the_user_may_be_named_like_ours(
    request: pytest.FixtureRequest, kind: Kind
) -> None:
    """With scan, nothing of ours is in the database."""
    with database(request, kind, OWN_SCHEMA) as base:
        base.execute("UPDATE pgtemplate.log SET id = 7", "INSERT INTO pgtemplate.log VALUES (2)")
        assert base.reset().reclone_reason is None
        assert base.session().fetch("SELECT id FROM pgtemplate.log") == [(1,)]
        base.execute("ALTER TABLE pgtemplate.log ADD more int")
        assert base.reset().reclone_reason is not None


def perform(base: Base, situation: Situation) -> bool:
    """False: PostgreSQL refuses it to this role."""
    try:
        if callable(situation):
            situation(base)
        else:
            base.execute(*([situation] if isinstance(situation, str) else situation))
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


@pytest.mark.parametrize(("row", "n"), EACH, ids=[f"{row}-{n}" for row, n in EACH])
def test_the_table_is_true(base: Base, kind: Kind, row: str, n: int) -> None:
    refused = not perform(base, SITUATIONS[row][n])

    result = base.reset()

    assert result.leaks == ()
    if refused:
        found = "refused"
    elif result.reclone_reason is not None:
        found = "re-cloned"
        base.reclone()
    else:
        found = "restored" if base.is_as_before() else "not seen"
    if found == "not seen":
        base.reclone()
    assert found == TABLE[row][kind.role, kind.tracking]
    assert base.is_as_before()
    assert base.reset().reclone_reason is None


PUBLISHED = """
CREATE TABLE keyed (id serial PRIMARY KEY, name text);
INSERT INTO keyed (name) VALUES ('a'), ('b');
CREATE TABLE child (id int PRIMARY KEY, keyed int REFERENCES keyed ON DELETE CASCADE);
INSERT INTO child VALUES (1, 1);
CREATE TABLE bare (name text);
INSERT INTO bare VALUES ('a');
"""


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_published_tables(request: pytest.FixtureRequest, kind: Kind) -> None:
    """PostgreSQL refuses UPDATE and DELETE of a published table without a key, to a reset, too."""
    publication = "CREATE PUBLICATION everything FOR ALL TABLES"
    with database(request, kind, PUBLISHED, as_root=publication) as base:
        fine = ResetResult(reclone_reason=None, leaks=())
        for change in (
            "UPDATE keyed SET name = 'z'",
            "DELETE FROM keyed",
            "TRUNCATE keyed CASCADE",
        ):
            base.execute(change, "INSERT INTO keyed (name) VALUES ('c')")
            assert base.reset() == fine, change
            assert base.is_as_before()
        base.execute("INSERT INTO keyed (name) VALUES ('shared')", "DELETE FROM child")
        assert base.worker.resetter.add_layer(1).changes == 2
        shared = base.dump()
        base.execute("DELETE FROM keyed")
        assert base.reset() == fine
        assert not difference(shared, base.dump())
        assert base.worker.reset([1]) == fine
        assert base.is_as_before()
        with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
            base.execute("DELETE FROM bare")
        base.execute("INSERT INTO bare VALUES ('b')")
        assert base.reset().reclone_reason is not None
        base.reclone()
        assert base.is_as_before()


UNREADABLE = {  # what another role owns, and what a test does to it
    "a table": ("", "SELECT hide(2)"),
    "a sequence": ("", "SELECT nextval('updatable')"),
    "a large object": (
        "DROP TABLE hidden, inserted_blind; DROP SEQUENCE updatable;"
        " SELECT lo_from_bytea(200, 'x');"
        " CREATE FUNCTION put() RETURNS void LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT pg_catalog.lo_put(200, 0, ''y'')'",
        "SELECT put()",
    ),
}


@pytest.mark.full("values")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.superuser], ids=str)
@pytest.mark.parametrize("what", UNREADABLE)
def test_a_database_with_objects_that_the_role_may_not_read_becomes_no_spare(
    request: pytest.FixtureRequest, kind: Kind, what: str
) -> None:
    """Neither a reset nor a comparison sees writes to them."""
    more, statement = UNREADABLE[what]
    with database(request, kind, SCRIPT, as_root=AS_ROOT + more) as base:
        template, server = base.worker.database.template, base.server
        assert base.worker.uncovered
        base.execute(statement)
        assert base.reset() == ResetResult(reclone_reason=None, leaks=())
        base._leave()
        base.worker.close()

        assert spares.list_spares(template.name, server.databases()) == []
        base.worker = WorkerDatabase(server, template, base.worker.database.name, RUN)
        assert not base.worker.from_spare
        assert base.is_as_before()


OF_A_GROUP = """
CREATE ROLE {group};
CREATE SCHEMA vault AUTHORIZATION {group};
SET ROLE {group};
CREATE TABLE vault.secret (id serial PRIMARY KEY, n int);
INSERT INTO vault.secret (n) VALUES (1);
CREATE TABLE vault.forced (id int);
ALTER TABLE vault.forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
RESET ROLE;
DO $$
DECLARE
    member CONSTANT regrole := (SELECT datdba FROM pg_database WHERE datname = current_database());
BEGIN
    EXECUTE format('ALTER ROLE %s NOINHERIT; GRANT {group} TO %1$s', member);
END
$$;
"""


@pytest.mark.full("one")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.superuser], ids=str)
def test_a_table_that_the_role_may_read_only_after_set_role_is_recloned(
    request: pytest.FixtureRequest, kind: Kind
) -> None:
    """The role does not inherit the privileges of a group, and the application uses SET ROLE."""
    group = unique("pgt_group")
    as_root = OF_A_GROUP.format(group=group)
    try:
        with database(request, kind, "CREATE TABLE item (id int)", as_root=as_root) as base:
            assert base.worker.tracking == kind.tracking
            assert base.worker.uncovered == ["vault.forced"]
            base.execute("INSERT INTO item VALUES (1)")
            assert base.reset() == ResetResult(reclone_reason=None, leaks=())
            for change in (
                "INSERT INTO vault.secret (n) VALUES (2)",
                "UPDATE vault.secret SET n = 2",
                "TRUNCATE vault.secret",
                "SELECT nextval('vault.secret_id_seq')",
            ):
                base.execute(f"SET ROLE {group}; {change}")
                reason = base.reset().reclone_reason
                assert reason is not None, change
                assert "vault.secret" in reason
                assert "HINT" not in reason
                base.reclone()
                assert base.is_as_before()
            base.execute(f"SET ROLE {group}; DELETE FROM vault.secret")
            with pytest.raises(ServerError, match=r"vault\.secret"):
                base.worker.resetter.add_layer(1)
            base.reclone()
            session = base.session()
            session.execute(f"SET ROLE {group}", "BEGIN", "DELETE FROM vault.secret")
            assert base.reset() == ResetResult(reclone_reason=None, leaks=())
            session.execute("COMMIT")
            assert [leak.pid for leak in base.reset().leaks] == [session.pid]
    finally:
        execute(url_of(request, kind.server), f"DROP ROLE IF EXISTS {group}")


OF_ANOTHER_ROLE = """
SELECT lo_from_bytea(200, 'of another role'), lo_from_bytea(201, 'shown');
GRANT SELECT ON LARGE OBJECT 201 TO PUBLIC;
CREATE FUNCTION make() RETURNS oid LANGUAGE sql SECURITY DEFINER
    AS 'SELECT pg_catalog.lo_from_bytea(202, ''made'')';
CREATE FUNCTION put(oid) RETURNS void LANGUAGE sql SECURITY DEFINER
    AS 'SELECT pg_catalog.lo_put($1, 0, ''y'')';
CREATE FUNCTION remove(oid) RETURNS int LANGUAGE sql SECURITY DEFINER
    AS 'SELECT pg_catalog.lo_unlink($1)';
"""


@pytest.mark.full("one")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.superuser], ids=str)
def test_large_objects_of_another_role(request: pytest.FixtureRequest, kind: Kind) -> None:
    """The content of those that the role may not read is the only change that no reset notices."""
    with database(request, kind, "CREATE TABLE item (id int)", as_root=OF_ANOTHER_ROLE) as base:
        assert base.worker.tracking == kind.tracking
        assert base.worker.uncovered == ["large object 200"]
        base.execute("INSERT INTO item VALUES (1)", "SELECT lo_from_bytea(0, 'mine')")
        assert base.reset() == ResetResult(reclone_reason=None, leaks=())
        assert base.is_as_before()
        for change in ("make()", "put(201)", "remove(200)", "remove(201)"):
            base.execute(f"SELECT {change}")
            assert base.reset().reclone_reason is not None, change
            base.reclone()
            assert base.is_as_before()
        base.execute("SELECT lo_from_bytea(0, 'mine')")
        assert base.worker.resetter.add_layer(1).changes == 1
        base.execute("SELECT make()")
        assert base.worker.resetter.add_layer(2).changes == 1
        assert base.worker.reset([2]).reclone_reason is not None
        base.reclone([2])
        assert base.worker.reset([1]) == ResetResult(reclone_reason=None, leaks=())
        assert base.is_as_before()


def test_a_transaction_open_on_a_table_of_another_role_is_a_leak(base: Base) -> None:
    """No trigger logs its writes, but the role may lock the table."""
    session = base.session("leaky")
    session.execute("BEGIN", "INSERT INTO granted VALUES (2, 2)")

    result = base.reset()

    assert [leak.pid for leak in result.leaks] == [session.pid]
    assert result.reclone_reason is None
    assert base.is_as_before()


def test_a_transaction_that_writes_to_a_table_by_a_function_is_a_leak(base: Base) -> None:
    """The role may not lock the table: the leak is found when the transaction has committed."""
    session = base.session("leaky")
    session.execute("BEGIN", "SELECT book(2, 20)")

    leaks = base.reset().leaks
    if not leaks:
        session.execute("COMMIT")
        leaks = base.reset().leaks

    assert [leak.pid for leak in leaks] == [session.pid]
    base.reclone()
