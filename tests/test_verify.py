"""Whatever differs between a database and its expected state, a comparison finds and names it."""

from __future__ import annotations

from collections.abc import Iterator

import asyncpg
import pytest

from pytest_pgtemplate._reset import ResetResult, Seal, changes_between, describe, state_digest
from pytest_pgtemplate._worker import WorkerOptions
from support.databases import EVERYTHING, Base, database
from support.kinds import KINDS, Kind
from support.programs import load_program
from support.projects import Project

SCHEMA = load_program("verify/schema.sql")

# What is done to the database, and what has to be named.
DEVIATIONS = {
    "a new row": ("INSERT INTO item (name) VALUES ('c')", "left behind: row of table public.item"),
    "a row less": ("DELETE FROM item WHERE id = 1", "missing: row of table public.item"),
    "a changed row": ("UPDATE item SET name = 'z' WHERE id = 2",
                      "changed: row of table public.item"),
    "one of two equal rows": ("DELETE FROM twice WHERE ctid = '(0,1)'", "row of table public.t"),
    "a row among many": ("UPDATE big SET name = 'x' WHERE id = 7", "rows of table public.big"),
    "a row with a column t": ("UPDATE odd SET id = 2", "row of table public.odd"),
    "a refreshed view": ("INSERT INTO item (name) VALUES ('c'); REFRESH MATERIALIZED VIEW counted",
                         "materialized view public.counted"),
    "a sequence": ("SELECT nextval('number')", "changed: sequence public.number"),
    "a sequence that was set": ("SELECT setval('empty_one_id_seq', 9, false)",
                                "sequence public.empty_one_id_seq"),
    "a new large object": ("SELECT lo_create(6000)", "left behind: large object 6000"),
    "the content of a large object": ("SELECT lo_put(5000, 0, 'x')", "changed: large object 5000"),
    "no large object": ("SELECT lo_unlink(5000)", "missing: large object 5000"),
    "a privilege on a large object": ("GRANT SELECT ON LARGE OBJECT 5000 TO PUBLIC",
                                      "large object 5000"),
    "a comment on a large object": ("COMMENT ON LARGE OBJECT 5000 IS 'large'", "large object 5000"),
    "a table": ("CREATE TABLE new (id int)", "left behind: table public.new"),
    "a strange name": ('CREATE TABLE "new on pg_temp.old" ()', 'public."new on pg_temp.old"'),
    "no view": ("DROP VIEW named", "missing: view public.named"),
    "an index": ("CREATE INDEX new ON item (size)", "left behind: index public.new"),
    "a column": ("ALTER TABLE item ADD more text", "column more of table public.item"),
    "a function": ("CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'",
                   "changed: function public.one()"),
    "a disabled trigger": ("ALTER TABLE item DISABLE TRIGGER nothing", "trigger nothing on table"),
    "a value of an enum": ("ALTER TYPE mood ADD VALUE 'glad'", "changed: type public.mood"),
    "a schema": ("CREATE SCHEMA new", "left behind: schema new"),
    "a comment": ("COMMENT ON COLUMN item.name IS 'x'", "left behind: comment on column name"),
    "no comment": ("COMMENT ON FUNCTION one() IS NULL", "missing: comment on function public.one"),
    "a comment on public": ("COMMENT ON SCHEMA public IS 'ours'", "schema public"),
    "a privilege": ("GRANT SELECT ON item TO PUBLIC", "changed: table public.item"),
    "a privilege on a column": ("GRANT SELECT (name) ON item TO PUBLIC", "column name of table"),
    "a default privilege": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
                            "default privileges"),
    "a policy": ("CREATE POLICY new ON item USING (true)", "policy new on table public.item"),
    "statistics": ("ALTER TABLE item ALTER size SET STATISTICS 7", "column size of table public.i"),
    "a detached partition": ("ALTER TABLE event DETACH PARTITION event_all", "public.event_all"),
    "a collation": ('CREATE COLLATION new FROM "C"', "collation public.new"),
    "an aggregate": ("CREATE AGGREGATE added (int) (SFUNC = int4pl, STYPE = int)", "public.added"),
}  # fmt: skip
BY_SUPERUSER = {
    "an invalid index": ("INSERT INTO twice VALUES (2)",
                         "CREATE UNIQUE INDEX CONCURRENTLY new ON twice (id)", "INVALID"),
    "a clustered table": ("CLUSTER item USING item_pkey", "index public.item_pkey"),
    "an owner": ("ALTER TABLE item OWNER TO pg_monitor", "OWNER pg_monitor"),
    "an owner of a large object": ("ALTER LARGE OBJECT 5000 OWNER TO pg_monitor", "pg_monitor"),
    "an event trigger": ("CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql"
                         " AS 'BEGIN END';"
                         "CREATE EVENT TRIGGER new ON ddl_command_start EXECUTE FUNCTION note()",
                         "event trigger new"),
    "a privilege on a built-in function": ("REVOKE EXECUTE ON FUNCTION lower(text) FROM PUBLIC",
                                           "function lower(text)"),
    "a comment on a built-in function": ("COMMENT ON FUNCTION lower(text) IS 'x'",
                                         "function lower(text)"),
    "a user mapping": ("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
                       "CREATE USER MAPPING FOR PUBLIC SERVER s", "server s"),
    "a member of an extension": ("ALTER EXTENSION plpgsql ADD FUNCTION one()", "public.one()"),
    "a security label": ("SET allow_system_table_mods = on; INSERT INTO pg_seclabel"
                         " VALUES ('item'::regclass, 'pg_class'::regclass, 0, 'x', 'y')",
                         "table public.item"),
    "a tablespace": ("ALTER TABLE item SET (fillfactor = 50)", "fillfactor"),
    "a dependency": ("ALTER FUNCTION one() DEPENDS ON EXTENSION plpgsql", "function public.one()"),
    "a publication": ("CREATE PUBLICATION new FOR TABLE item", "publication new"),
    "a publication named like a schema": ("CREATE PUBLICATION pg_temp FOR TABLE item",
                                          "publication pg_temp"),
}  # fmt: skip
OF_OURS = {
    # A trigger restores the rows of the plugin's own tables, and logs a write to every table.
    "an emptied baseline": ("DELETE FROM pgtemplate.baseline", "pgtemplate.log"),
    "a sequence in the baseline": ("UPDATE pgtemplate.sequence SET last_value = 9",
                                   "pgtemplate.log"),
    "a table that is not known": ("DELETE FROM pgtemplate.relation WHERE name ~ 'item'",
                                  "pgtemplate.log"),
    "a write that is not known": ("INSERT INTO pgtemplate.log VALUES (1)", "pgtemplate.log"),
    "a replaced function": ("CREATE OR REPLACE FUNCTION pgtemplate.clear_log() RETURNS void"
                            " LANGUAGE sql AS ''", "pgtemplate.clear_log()"),
    "a tracking trigger": ("ALTER TABLE item DISABLE TRIGGER pgtemplate", "trigger pgtemplate on"),
}  # fmt: skip
TEMPORARY = """
CREATE TEMP TABLE mine (id serial PRIMARY KEY, name text CHECK (name <> ''));
CREATE INDEX ON mine (name); COMMENT ON TABLE mine IS 'mine';
CREATE TRIGGER nothing AFTER INSERT ON mine EXECUTE FUNCTION nothing();
CREATE RULE ignore AS ON UPDATE TO mine DO INSTEAD NOTHING;
CREATE POLICY few ON mine USING (true); CREATE TEMP VIEW seen AS SELECT * FROM mine;
CREATE TYPE pg_temp.glow AS ENUM ('dim');
CREATE DOMAIN pg_temp.low AS int CHECK (VALUE > 0);
CREATE TYPE pg_temp.pair AS (a int, b int);
CREATE FUNCTION pg_temp.two() RETURNS int LANGUAGE sql AS 'SELECT 2'
"""
NO_DEVIATIONS = {
    "nothing": "SELECT",
    "maintenance": ["VACUUM", "ANALYZE", "VACUUM FULL item", "REINDEX TABLE item", "VACUUM FREEZE"],
    "DDL that is rolled back": "BEGIN; CREATE TABLE new (id int); DROP TABLE event; ROLLBACK",
    "temporary objects": TEMPORARY,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    with database(request, kind, SCHEMA, WorkerOptions(verify=True)) as base:
        yield base


def equals_seal(base: Base) -> bool:
    """Whether it may become a spare: this comparison reads less of large tables."""
    template = base.server.require_ours(base.worker.database.template.name)
    assert template.mark is not None
    seal = Seal.parse(template.mark.state)
    return state_digest(base.worker.resetter.read_state(seal.boundary)) == seal.digest


def explain(base: Base) -> str:
    """What is wrong, as --pg-verify words it; a new clone is right."""
    assert not equals_seal(base)
    found = base.worker.resetter.verify()
    actual = base.worker.resetter.read_details(found)
    base.reclone()
    assert base.worker.resetter.verify() == ()
    expected = base.worker.resetter.read_details(found)
    return "\n".join(describe(changes_between(expected, actual, found)))


@pytest.mark.full("values")
@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_deviation_is_found_and_named(base: Base, name: str) -> None:
    statement, named = DEVIATIONS[name]
    base.execute(statement)

    assert named in explain(base)


@pytest.mark.full("values")
@pytest.mark.parametrize("name", BY_SUPERUSER)
def test_a_deviation_that_takes_a_superuser_is_found_and_named(base: Base, name: str) -> None:
    *statements, named = BY_SUPERUSER[name]
    session = base.root()
    for statement in statements:
        try:
            session.execute(statement)
        except asyncpg.UniqueViolationError:
            assert name == "an invalid index"

    assert named in explain(base)


@pytest.mark.full("product")
@pytest.mark.parametrize("name", OF_OURS)
def test_a_deviation_of_our_own_schema_is_found_and_named(
    base: Base, kind: Kind, name: str
) -> None:
    statement, named = OF_OURS[name]
    if kind.tracking == "scan":
        with pytest.raises(asyncpg.PostgresError):
            base.execute(statement)
        assert base.worker.resetter.verify() == ()
        return
    base.execute(statement)

    assert named in explain(base)


@pytest.mark.full("product")
@pytest.mark.parametrize("name", NO_DEVIATIONS)
def test_what_does_not_differ_is_no_deviation(base: Base, name: str) -> None:
    script = NO_DEVIATIONS[name]
    session = base.session()
    session.execute(*([script] if isinstance(script, str) else script))

    assert base.worker.resetter.verify() == ()
    assert equals_seal(base)
    session.close()
    assert base.worker.resetter.verify() == ()


@pytest.mark.full("product")
def test_temporary_objects_that_end_meanwhile_are_no_deviation(base: Base) -> None:
    """The snapshot of a comparison still shows their rows, and the server does not know them."""
    session = base.session()
    session.execute(TEMPORARY)
    with base.kept_snapshot():
        session.close()
        base.wait_for_end(session.pid)

        assert base.worker.resetter.verify() == ()


@pytest.mark.parametrize(
    "name", ["a comment on a large object", "a privilege on a large object", "no large object"]
)
def test_what_a_reset_restores_is_no_deviation(base: Base, name: str) -> None:
    """Although the catalogs have new rows for it."""
    base.execute(DEVIATIONS[name][0])
    result = base.reset()

    assert result.differences == ()
    if result.reclone_reason is not None:  # event triggers have noticed it
        base.reclone()
    assert base.worker.resetter.verify() == ()


@pytest.mark.full("values")
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_resets_and_layers_leave_no_deviation(request: pytest.FixtureRequest, kind: Kind) -> None:
    """Layers come and go in any order, over a clone, too: what is expected follows."""
    with database(request, kind, EVERYTHING, WorkerOptions(verify=True)) as base:
        fine = ResetResult(None, ())
        resetter = base.worker.resetter
        one = "INSERT INTO item (name) VALUES ('one')"
        base.execute(one, "DELETE FROM country", "TRUNCATE detail")
        assert base.reset() == fine
        base.execute(one, "SELECT lo_create(7000)")
        assert resetter.add_layer(1).changes
        assert resetter.verify() == ()
        base.execute("INSERT INTO item (name) VALUES ('two')", "SELECT lo_unlink(7000)")
        assert base.reset() == fine
        base.execute("UPDATE detail SET note = 'x'", "SELECT setval('empty_one_id_seq', 77)")
        assert resetter.add_layer(2).changes
        base.execute("DELETE FROM item", "DELETE FROM detail")
        assert base.reset() == fine
        base.reclone()
        assert base.worker.resetter.verify() == ()
        base.execute("DELETE FROM item WHERE name = 'one'")
        found = base.worker.resetter.verify()
        assert [each.actual.name for each in found if each.actual] == ["rows of table public.item"]
        assert base.reset() == fine
        assert base.worker.reset([1]) == fine
        assert base.worker.reset([2]) == fine


# Whole runs

TABLES = """
op.execute("CREATE TABLE item (id int PRIMARY KEY, name text)")
op.execute("CREATE INDEX item_name ON item (name)")
op.execute("INSERT INTO item VALUES (1, 'old')")
"""
# By tracking: what it does not notice, and how it is named.
UNNOTICED = {
    "triggers": (
        "CLUSTER item USING item_name",
        """changed: index public.item_name
    - CREATE INDEX item_name ON public.item USING btree (name)
    + CREATE INDEX item_name ON public.item USING btree (name) CLUSTER
""",
    ),
    "scan": (
        "COMMENT ON FUNCTION lower(text) IS 'mine'",
        """changed: function lower(text)
    - {"description": "lowercase"}
    + {"description": "mine"}
""",
    ),
}
DEVIATING = """
from sqlalchemy import text

def test_before(pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item VALUES (2, 'new')"))
    pg_sync_session.commit()

def test_deviating(pg_sync_engine):
    with pg_sync_engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text({statement!r}))

def test_after(pg_sync_session):
    query = text("SELECT indisclustered, obj_description('lower(text)'::regprocedure)"
                 "  FROM pg_index WHERE indexrelid = 'item_name'::regclass")
    assert pg_sync_session.execute(query).one() == (False, "lowercase")
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", TABLES)
    return project


@pytest.mark.full("values")
@pytest.mark.parametrize("tracking", UNNOTICED)
@pytest.mark.parametrize("option", ["--pg-verify", "-opg_verify=true"])
def test_the_test_that_left_a_difference_fails(shop: Project, option: str, tracking: str) -> None:
    """No other test does: its successors get a new clone."""
    statement, named = UNNOTICED[tracking]
    shop.write("test_it.py", DEVIATING.format(statement=statement))
    result = shop.run("-o", f"pg_tracking={tracking}", option)

    result.assert_outcomes(passed=3, errors=1)
    output = str(result.stdout)
    assert "ERROR at teardown of test_deviating" in output
    assert named in "\n".join(line.removeprefix("E").rstrip() for line in result.outlines)


@pytest.mark.parametrize("tracking", UNNOTICED)
def test_a_database_that_differs_becomes_no_spare(shop: Project, tracking: str) -> None:
    """The summary names the object; the next run starts from a clone that has no difference."""
    statement, named = UNNOTICED[tracking]
    shop.write("test_it.py", DEVIATING.format(statement=statement))
    result = shop.run("-o", f"pg_tracking={tracking}", "--pg-stats", "-k", "not after")

    result.assert_outcomes(passed=2, deselected=1)
    assert "dropped its database, which differs from the template" in str(result.stdout)
    assert named.splitlines()[0] in str(result.stdout)
    assert len(shop.spares()) == 1
    again = shop.run("-o", f"pg_tracking={tracking}", "--pg-stats", "-k", "after or before")
    again.assert_outcomes(passed=2, deselected=1)
    assert "(1 spare)" in str(again.stdout)
    assert "differs from the template" not in str(again.stdout)


EVERYWHERE = """
import pytest
from sqlalchemy import text

@pytest.fixture(scope="session")
def everywhere(pg_shared):
    with pg_shared.sync_engine.begin() as connection:
        connection.execute(text("INSERT INTO item VALUES (100, 'session')"))
"""
SHARED = load_program("verify/shared.py")
LATER = load_program("verify/later.py")


@pytest.mark.full("one")
@pytest.mark.parametrize("tracking", ["triggers", "scan"])
def test_a_run_without_differences_is_green(shop: Project, tracking: str) -> None:
    """Layers, clones, rollbacks and changes of the schema included."""
    shop.write("conftest.py", EVERYWHERE)
    shop.write("test_shared.py", SHARED)
    shop.write("test_zlater.py", LATER)
    result = shop.run("-o", f"pg_tracking={tracking}", "--pg-verify", "-p", "no:randomly")

    result.assert_outcomes(passed=12)
