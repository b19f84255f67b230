"""A reset notices every change of the schema, and the next test gets a new clone."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest

from pytest_pgtemplate._reset import ResetResult
from pytest_pgtemplate._worker import WorkerOptions
from support.databases import Base, database, difference
from support.kinds import KINDS, Kind
from support.programs import load_program
from support.projects import execute, unique

pytestmark = pytest.mark.full("product")  # of situations and kinds of databases

SCHEMA = load_program("reset_ddl/schema.sql")

CHANGES = {
    "create table": "CREATE TABLE new (id int)",
    "create table, like another": "CREATE TABLE new (LIKE item INCLUDING ALL)",
    "create table as": "CREATE TABLE new AS SELECT * FROM item",
    "select into": "SELECT * INTO new FROM item",
    "create unlogged table": "CREATE UNLOGGED TABLE new (id int)",
    "drop table": "DROP TABLE loose",
    "drop table cascade": "DROP TABLE item CASCADE",
    "rename table": "ALTER TABLE loose RENAME TO lost",
    "move table": "ALTER TABLE loose SET SCHEMA other",
    "table options": "ALTER TABLE loose SET (fillfactor = 50)",
    "add column": "ALTER TABLE item ADD COLUMN more text",
    "drop column": "ALTER TABLE item DROP COLUMN size",
    "rename column": "ALTER TABLE item RENAME COLUMN name TO title",
    "type of a column": "ALTER TABLE item ALTER COLUMN size TYPE bigint",
    "default": "ALTER TABLE item ALTER COLUMN name SET DEFAULT 'y'",
    "no default": "ALTER TABLE item ALTER COLUMN name DROP DEFAULT",
    "not null": "ALTER TABLE item ALTER COLUMN size SET NOT NULL",
    "add constraint": "ALTER TABLE item ADD CHECK (size < 9)",
    "drop constraint": "ALTER TABLE item DROP CONSTRAINT item_size_check",
    "drop key": "ALTER TABLE detail DROP CONSTRAINT detail_item_fkey",
    "create index": "CREATE INDEX ON item (name)",
    "create index concurrently": "CREATE INDEX CONCURRENTLY ON item (name)",
    "drop index": "DROP INDEX counted_count_idx",
    "attach partition": "ALTER TABLE event ATTACH PARTITION loose FOR VALUES FROM ('2020-1-1')"
    " TO ('2021-1-1')",
    "detach partition": "ALTER TABLE event DETACH PARTITION event_all",
    "add value to an enum": "ALTER TYPE mood ADD VALUE 'glad'",
    "create type": "CREATE TYPE pair AS (a int, b int)",
    "create domain": "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "create function": "CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "replace function": "CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 11'",
    "drop function": "DROP FUNCTION one()",
    "create aggregate": "CREATE AGGREGATE added (int) (SFUNC = int4pl, STYPE = int)",
    "create operator": "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
    "create cast": "CREATE CAST (mood AS int) WITH INOUT",
    "create view": "CREATE VIEW new AS SELECT 1",
    "replace view": "CREATE OR REPLACE VIEW named AS SELECT name || '!' AS name FROM item",
    "drop view": "DROP VIEW named",
    "create materialized view": "CREATE MATERIALIZED VIEW new AS SELECT 1",
    "refresh": "REFRESH MATERIALIZED VIEW counted",
    "refresh concurrently": [
        "INSERT INTO item (name) VALUES ('c')",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY counted",
    ],
    "empty a materialized view": "REFRESH MATERIALIZED VIEW counted WITH NO DATA",
    "create sequence": "CREATE SEQUENCE new",
    "alter sequence": "ALTER SEQUENCE number INCREMENT 5",
    "create schema": "CREATE SCHEMA new",
    "drop schema": "DROP SCHEMA other CASCADE",
    "create trigger": "CREATE TRIGGER new AFTER INSERT ON item EXECUTE FUNCTION nothing()",
    "disable a trigger": "ALTER TABLE detail DISABLE TRIGGER nothing",
    "disable the user's triggers": "ALTER TABLE detail DISABLE TRIGGER USER",
    "drop trigger": "DROP TRIGGER nothing ON detail",
    "create rule": "CREATE RULE new AS ON DELETE TO item DO INSTEAD NOTHING",
    "disable rule": "ALTER TABLE detail DISABLE RULE ignore",
    "create policy": "CREATE POLICY new ON item USING (true)",
    "alter policy": "ALTER POLICY few ON other.item USING (id > 1)",
    "row-level security": "ALTER TABLE item ENABLE ROW LEVEL SECURITY",
    "row-level security, forced": "ALTER TABLE item FORCE ROW LEVEL SECURITY",
    "grant": "GRANT SELECT ON item TO PUBLIC",
    "grant on a schema": "GRANT USAGE ON SCHEMA other TO PUBLIC",
    "grant on a function": "REVOKE EXECUTE ON FUNCTION one() FROM PUBLIC",
    "default privileges": "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "comment": "COMMENT ON TABLE item IS 'an item'",
    "statistics": "CREATE STATISTICS new ON id, size FROM item",
    "text search": "CREATE TEXT SEARCH CONFIGURATION new (COPY = simple)",
    "collation": "CREATE COLLATION new FROM \"C\"",
    "create extension": "CREATE EXTENSION citext",
    "drop and create alike": ["DROP FUNCTION one()",
                              "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'"],
    "a comment on the schema public": "COMMENT ON SCHEMA public IS 'ours'",
    "a name like a temporary one": """
        CREATE TABLE "on pg_temp.x" (id int); CREATE SCHEMA "x on pg_temp.y"
    """,
    "drop a name like a temporary one": 'DROP TABLE "loose on pg_temp.x"',
    "with temporary tables about": ["CREATE TEMP TABLE mine (id int); ALTER TABLE loose ADD a int"],
}  # fmt: skip

# Those only a superuser may make, or only one kind of tracking has something to lose by.
BY_SUPERUSER = {
    "disable all triggers": "ALTER TABLE detail DISABLE TRIGGER ALL",
    "create event trigger": """
        CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER new ON ddl_command_start EXECUTE FUNCTION note()
    """,
    "as a replica": "SET session_replication_role = replica; DROP VIEW named",
}
# What fails or is cancelled half-way, and leaves something behind.
HALF_WAY = {
    "create a unique index concurrently": (
        "INSERT INTO twice VALUES (1)",
        "CREATE UNIQUE INDEX CONCURRENTLY new ON twice (id)",
    ),
    "detach a partition concurrently": (
        "ALTER TABLE event_two DETACH PARTITION event_one CONCURRENTLY",
    ),
    "reindex concurrently": ("REINDEX INDEX CONCURRENTLY twice_id",),
}
OF_OURS = {
    "drop tracking trigger": "DROP TRIGGER pgtemplate ON item",
    "disable tracking trigger": "ALTER TABLE item DISABLE TRIGGER pgtemplate",
    "drop tracking schema": "DROP SCHEMA pgtemplate CASCADE",
}
NO_CHANGES = {
    "rolled back": "BEGIN; CREATE TABLE new (id int); ALTER TABLE item DROP COLUMN size; ROLLBACK",
    "rolled back to a savepoint": """
        BEGIN; SAVEPOINT s; CREATE TABLE new (id int); ROLLBACK TO s;
        INSERT INTO item (name) VALUES ('c'); COMMIT
    """,
    "already there": "CREATE TABLE IF NOT EXISTS item (id int); DROP TABLE IF EXISTS nothing",
    "maintenance": ["VACUUM", "ANALYZE", "VACUUM FULL item", "REINDEX TABLE item"],
    "truncate": "TRUNCATE item, detail RESTART IDENTITY",
    "rules and policies of temporary tables": """
        CREATE TEMP TABLE mine (id int);
        CREATE TRIGGER nothing AFTER INSERT ON mine EXECUTE FUNCTION nothing();
        CREATE RULE ignore AS ON UPDATE TO mine DO INSTEAD NOTHING;
        CREATE POLICY few ON mine USING (true);
        CREATE TEMP VIEW seen AS SELECT * FROM mine; DROP VIEW seen; DROP TABLE mine
    """,
    "temporary types and functions": """
        CREATE TYPE pg_temp.glow AS ENUM ('dim'); CREATE DOMAIN pg_temp.low AS int;
        CREATE FUNCTION pg_temp.two() RETURNS int LANGUAGE sql AS 'SELECT 2'
    """,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    with database(request, kind, SCHEMA) as base:
        yield base


def assert_noticed(base: Base) -> None:
    outcome = base.reset()
    assert outcome.reclone_reason is not None
    assert outcome.leaks == ()

    base.reclone()

    assert difference(base.origin, base.dump()) == {}
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(base: Base, name: str) -> None:
    change = CHANGES[name]
    # Before PostgreSQL 15, the schema public is not the database owner's.
    is_refused = "SCHEMA public" in change and base.server.facts.major < 15
    execute = base.as_root if is_refused else base.execute
    execute(*([change] if isinstance(change, str) else change))

    assert_noticed(base)


@pytest.mark.parametrize("name", BY_SUPERUSER)
def test_a_change_by_a_superuser_is_noticed(base: Base, name: str) -> None:
    base.as_root(BY_SUPERUSER[name])

    assert_noticed(base)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.superuser], ids=str)
def test_objects_that_get_another_owner_are_found(
    request: pytest.FixtureRequest, kind: Kind
) -> None:
    """REASSIGN OWNED, for which no event trigger fires: the comparison finds it."""
    role = unique("pgt_owner")
    script = f"CREATE ROLE {role}; CREATE TABLE item (id int); ALTER TABLE item OWNER TO {role}"
    with database(request, kind, script, WorkerOptions(verify=True)) as base:
        base.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        result = base.reset()
        assert (result.reclone_reason is not None) == (kind.tracking == "scan")
        assert result.differences or result.reclone_reason
        url = base.server.url
    execute(url, f"DROP ROLE {role}")


@pytest.mark.parametrize("tracking", ["triggers", "scan"])
def test_ddl_without_event_triggers_is_found(request: pytest.FixtureRequest, tracking: str) -> None:
    """A superuser may turn them off for a session: the comparison finds it."""
    kind = Kind(tracking, "superuser", "embedded")
    with database(request, kind, "SELECT", WorkerOptions(verify=True)) as base:
        if base.server.facts.major < 17:
            pytest.skip("the setting event_triggers is one of PostgreSQL 17")
        base.execute("SET event_triggers = off; CREATE TABLE new ()")
        result = base.reset()
        assert (result.reclone_reason is not None) == (tracking == "scan")
        assert result.differences or result.reclone_reason


def test_a_subscription_is_noticed(base: Base) -> None:
    unconnected = "CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false)"
    base.as_root(f"CREATE SUBSCRIPTION mine {unconnected}")

    assert base.reset().reclone_reason is not None

    words = ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}")
    base.as_root(*(each.format("SUBSCRIPTION mine") for each in words))
    base.reclone()
    assert base.reset() == ResetResult(reclone_reason=None, leaks=())


@pytest.mark.parametrize("name", HALF_WAY)
def test_a_change_that_fails_half_way_is_noticed(base: Base, name: str) -> None:
    """The statements commit in between: what they leave is there to stay."""
    *before, statement = HALF_WAY[name]
    base.execute(*before)
    reader = base.session()
    reader.execute("BEGIN", "SELECT * FROM twice", "SELECT * FROM event_one")  # in the way
    session = base.session()
    session.execute("SET statement_timeout = '300ms'")
    with pytest.raises((asyncpg.QueryCanceledError, asyncpg.UniqueViolationError)):
        session.execute(statement)
    reader.execute("ROLLBACK")

    if (
        statement.startswith("REINDEX")
        and base.worker.event_triggers
        and base.server.facts.major < 17
    ):
        assert base.reset().reclone_reason is None  # event triggers fire for it from PostgreSQL 17
        base.reclone()
    else:
        assert_noticed(base)


@pytest.mark.parametrize("name", OF_OURS)
def test_a_change_of_our_own_objects_is_noticed(base: Base, kind: Kind, name: str) -> None:
    if kind.tracking == "scan":
        with pytest.raises(asyncpg.PostgresError):
            base.execute(OF_OURS[name])
        assert base.reset() == ResetResult(reclone_reason=None, leaks=())
        return
    base.execute(OF_OURS[name])

    assert_noticed(base)


@pytest.mark.parametrize("name", NO_CHANGES)
def test_changes_that_do_not_concern_the_schema_are_ignored(base: Base, name: str) -> None:
    script = NO_CHANGES[name]
    base.execute(*([script] if isinstance(script, str) else script))

    assert base.reset() == ResetResult(reclone_reason=None, leaks=())
    assert difference(base.origin, base.dump()) == {}
