"""What a test may do to a database, and that a reset brings every row, sequence and large object
back: for both kinds of tracking, as a superuser and as a plain role, on two servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import asyncpg
import pytest

from pytest_pgtemplate._reset import ResetResult
from pytest_pgtemplate._reset.scripts import LARGE
from support.databases import EVERYTHING, VIRTUAL, Base, database, difference, run
from support.kinds import Kind

pytestmark = pytest.mark.full("product")  # of situations and kinds of databases

Situation = str | list[str] | Callable[[Base], None]

ODD = '"Odd ""schema"" %s $1"."Select"'
LONG = "a23456789_b23456789_c23456789_d23456789_e23456789_f23456789_123"
MUCH = LARGE // 100 + 1000  # rows of 100 bytes, more than LARGE takes


def sessions(*statements: str) -> Situation:
    """Each statement in a session of its own; all are open until the last has ended."""

    def run_all(base: Base) -> None:
        for statement in statements:
            base.session().execute(statement)

    return run_all


def as_root(*statements: str) -> Situation:
    return lambda base: base.as_root(*statements)


def fails(*statements: str) -> Situation:
    """Statements of one session that the server refuses."""

    def run_all(base: Base) -> None:
        session = base.session()
        for statement in statements:
            with suppress(asyncpg.PostgresError):
                session.execute(statement)

    return run_all


# Nothing written


def only_reads(base: Base) -> None:
    session = base.session()
    session.execute("BEGIN", "SELECT * FROM item, country", "COMMIT")
    session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT * FROM item", "COMMIT")


# Where new rows are not behind the others


def gaps_filled(base: Base) -> None:
    session = base.session()
    session.execute("VACUUM gaps", "INSERT INTO gaps VALUES (1, 'new')")
    assert session.value(
        "SELECT bool_and(g.ctid < last.ctid) FROM gaps g, gaps last"
        " WHERE g.id = 1 AND last.id = 1300"
    )


# Through the wire in other ways than by a statement


def copy(base: Base) -> None:
    base.session().copy("grown", [(n,) for n in range(1000)])


def copy_as_replica(base: Base) -> None:
    """As loaders do that want no foreign key checked; only a superuser may."""
    session = base.root()
    session.execute("SET session_replication_role = replica")
    session.copy("detail", [(100, 999, "refers to nothing")])
    session.execute("DELETE FROM country", "TRUNCATE egg CASCADE", "UPDATE item SET parent = 77")


def listen_and_notify(base: Base) -> None:
    listener, other = base.session(), base.session()
    listener.execute("LISTEN news")
    other.execute("INSERT INTO item (name) VALUES ('new'); NOTIFY news, 'new'")


def temporary_tables(base: Base) -> None:
    session = base.session()
    session.execute(
        """
        CREATE TEMP TABLE mine (
            id   serial PRIMARY KEY,
            size int CHECK (size > 0) DEFAULT 1,
            own  int GENERATED ALWAYS AS IDENTITY,
            text text
        )
        """,
        "CREATE INDEX ON mine (size)",
        "CREATE TEMP TABLE its (id int REFERENCES mine)",
        "ALTER TABLE mine ADD COLUMN more int NOT NULL DEFAULT 3",
        "CREATE TEMP VIEW seen AS SELECT * FROM mine",
        "CREATE TEMP SEQUENCE counted",
        "CREATE TEMP TABLE copied AS SELECT * FROM item",
        "SELECT * INTO TEMP copied_too FROM item",
        "CREATE TEMP TABLE for_now (n int) ON COMMIT DROP",
        "INSERT INTO mine (text) SELECT name FROM item",
        "INSERT INTO item (name) SELECT text FROM mine",
        "SELECT nextval('counted')",
        "TRUNCATE mine, its",
        "DROP VIEW seen",
        "DROP TABLE copied",
    )


# Several sessions at once


def two_writers(base: Base) -> None:
    """Neither waits for the other: each would fail after a second."""
    one, two = base.session(), base.session()
    for session in (one, two):
        session.execute("SET lock_timeout = '1s'", "BEGIN")
    for name in ("a", "b", "c"):
        one.execute(f"INSERT INTO item (name) VALUES ('{name}')")
        two.execute(f"INSERT INTO item (name) VALUES ('{name}')")
        two.execute("UPDATE country SET name = 'Nippon' WHERE code = 'jp'")
        one.execute("UPDATE country SET name = 'Gaul' WHERE code = 'fr'")
    one.execute("COMMIT")
    two.execute("COMMIT")


def serializable_writers(base: Base) -> None:
    """Two transactions that read and write different tables conflict in nothing."""
    one, two = base.session(), base.session()
    for session in (one, two):
        session.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    one.execute("SELECT count(*) FROM country", "INSERT INTO country VALUES ('de', 'Germany')")
    two.execute("SELECT count(*) FROM bag", "INSERT INTO bag VALUES (3)")
    one.execute("UPDATE country SET name = 'x' WHERE code = 'de'", "COMMIT")
    two.execute("DELETE FROM bag WHERE n = 3", "COMMIT")


def session_died_in_transaction(base: Base) -> None:
    session = base.session()
    session.execute("BEGIN", "INSERT INTO item (name) VALUES ('lost')", "DELETE FROM detail")
    base.as_root(f"SELECT pg_terminate_backend({session.pid})")


def session_died_in_statement(base: Base) -> None:
    session = base.session()
    statement = session.start("INSERT INTO item (name) SELECT pg_sleep(20)::text")
    base.execute("INSERT INTO bag VALUES (7)")
    base.as_root(f"SELECT pg_terminate_backend({session.pid})")
    with suppress(asyncpg.PostgresError):
        run(statement)


def two_phase_commit(base: Base) -> None:
    base.execute(
        "BEGIN; INSERT INTO item (name) VALUES ('prepared'); PREPARE TRANSACTION 'it''s \\ 1'",
        "COMMIT PREPARED 'it''s \\ 1'",
    )


def two_phase_rollback(base: Base) -> None:
    base.execute(
        "BEGIN; INSERT INTO item (name) VALUES ('prepared'); PREPARE TRANSACTION 'two'",
        "ROLLBACK PREPARED 'two'",
    )


FILL = f"SELECT g, repeat('x', 100) FROM generate_series(10, {MUCH}) g"

SITUATIONS: dict[str, Situation] = {
    "nothing": [],
    "reads": only_reads,
    # Rows of plain tables
    "insert": "INSERT INTO item (name) VALUES ('new')",
    "insert into an empty table": "INSERT INTO empty_one (note) VALUES ('a'), ('b')",
    "insert, rolled back": ["BEGIN; INSERT INTO item (name) VALUES ('new'); ROLLBACK"],
    "insert, refused": fails("INSERT INTO item (name, country) VALUES ('new', 'nowhere')"),
    "insert, rolled back to a savepoint": """
        BEGIN; SAVEPOINT s; INSERT INTO item (name) VALUES ('new'); ROLLBACK TO s; COMMIT
    """,
    "insert in a released savepoint": """
        BEGIN; SAVEPOINT s; UPDATE item SET name = 'new'; RELEASE s;
        SAVEPOINT t; DELETE FROM detail; ROLLBACK TO t; COMMIT
    """,
    "insert and delete again": [
        "INSERT INTO item (name) VALUES ('new')",
        "DELETE FROM item WHERE name = 'new'",
    ],
    "insert on conflict": """
        INSERT INTO country VALUES ('fr', 'Gaul'), ('de', 'Germany')
        ON CONFLICT (code) DO UPDATE SET name = excluded.name
    """,
    "insert on conflict do nothing": """
        INSERT INTO country VALUES ('fr', 'Gaul') ON CONFLICT DO NOTHING
    """,
    "update of reference rows": "UPDATE country SET name = upper(name) WHERE code <> 'pe'",
    "update to the same value": "UPDATE country SET name = name",
    "update of a key that cascades": "UPDATE country SET code = 'f' WHERE code = 'fr'",
    "update of every row in turn": ["UPDATE detail SET note = 'a'", "UPDATE detail SET note = 'b'"],
    "swap of two rows": """
        UPDATE ranked SET rank = 3 - rank;
        UPDATE item SET name = CASE name WHEN 'chess' THEN 'go' ELSE 'chess' END
    """,
    "delete of a reference row": "DELETE FROM detail WHERE id = 1",
    "delete that cascades": "DELETE FROM item WHERE id = 1",
    "delete that sets null": "DELETE FROM country WHERE code = 'fr'",
    "delete of everything": ["DELETE FROM other.item; DELETE FROM detail; DELETE FROM item"],
    "delete and insert of the same rows": """
        DELETE FROM detail; INSERT INTO detail (id, item, note) OVERRIDING SYSTEM VALUE
        VALUES (1, 1, 'of wood'), (2, 3, 'of slate')
    """,
    "row lock": "BEGIN; SELECT * FROM item FOR UPDATE; COMMIT",
    "data-modifying CTE": """
        WITH gone AS (DELETE FROM detail RETURNING note),
             new AS (INSERT INTO item (name) SELECT note FROM gone RETURNING id)
        UPDATE country SET name = 'n' || (SELECT count(*) FROM new) WHERE code = 'pe'
    """,
    "merge": """
        MERGE INTO country c USING (VALUES ('fr', 'Gaul'), ('de', 'Germany'), ('pe', NULL))
                                 AS v (code, name) ON v.code = c.code
        WHEN MATCHED AND v.name IS NULL THEN DELETE
        WHEN MATCHED THEN UPDATE SET name = v.name
        WHEN NOT MATCHED THEN INSERT VALUES (v.code, v.name)
    """,
    "merge that deletes only": """
        MERGE INTO bag USING (VALUES (1)) AS v (n) ON v.n = bag.n WHEN MATCHED THEN DELETE
    """,
    "function that writes": """
        DO $$ BEGIN INSERT INTO item (name) VALUES ('a'); DELETE FROM bag; END $$
    """,
    "many statements": "DO $$ BEGIN FOR i IN 1..3000 LOOP INSERT INTO grown VALUES (i);"
    " UPDATE bag SET n = n + 1; END LOOP; END $$",
    # Foreign keys
    "cycle, checked at once": [
        "INSERT INTO egg VALUES (2, 1); INSERT INTO hen VALUES (2, 2); UPDATE egg SET hen = 2"
    ],
    "cycle of reference rows, deleted": ["UPDATE egg SET hen = NULL; DELETE FROM hen"],
    "cycle, checked at commit": """
        BEGIN; INSERT INTO man VALUES (2, 2); INSERT INTO wife VALUES (2, 2);
        DELETE FROM man WHERE id = 1; DELETE FROM wife WHERE id = 1; COMMIT
    """,
    "key to the same table": [
        "INSERT INTO item (name, parent) VALUES ('bishop', 1), ('x', 4)",
        "UPDATE item SET parent = id",
    ],
    "key that restricts": "INSERT INTO empty_one (item) SELECT id FROM item",
    "rows that refer to new and old ones": """
        INSERT INTO item (id, name, parent, country) VALUES (50, 'new', 1, 'fr'), (51, 'new', 50, NULL);
        UPDATE item SET parent = 50 WHERE id = 3;
        INSERT INTO other.item (item) VALUES (50), (1); UPDATE detail SET item = 51
    """,
    # Partitions and inheritance
    "partitions, through the parent": "INSERT INTO event (at, kind) VALUES ('2019-01-01', 'a'),"
    " ('2024-01-01', 'a'), ('2024-01-01', 'zz')",
    "partitions, direct": [
        "INSERT INTO event_old (at) VALUES ('2019-01-01')",
        "INSERT INTO event_new (at, kind) VALUES ('2024-01-01', 'q')",
        "DELETE FROM event_new_rest",
    ],
    "row moved between partitions": "UPDATE event SET at = '2025-01-01' WHERE at < '2020-01-01'",
    "row moved below a partition": "UPDATE event_new SET kind = 'c' WHERE kind = 'b'",
    "partitions, truncated": "TRUNCATE event CASCADE",
    "partition, truncated": ["TRUNCATE event_audited_all", "TRUNCATE event_new_rest CASCADE"],
    "key to a partitioned table": [
        "INSERT INTO event (id, at) VALUES (99, '2024-01-01')",
        "INSERT INTO event_note VALUES (2, 99, '2024-01-01', 'a')",
        "DELETE FROM event WHERE id = 2",
    ],
    "inheritance, through the parent": "UPDATE place SET size = size + 1",
    "inheritance, the child": ["INSERT INTO town VALUES ('Bonn', 3, 'B')", "DELETE FROM ONLY place"],
    "inheritance, truncated": "TRUNCATE place",
    # Names and schemas
    "odd names": [f"UPDATE {ODD} SET t = 2", f"INSERT INTO {ODD} (t) VALUES (3)"],
    "mixed case": ['INSERT INTO "MixedCase" ("order") VALUES (7)', "INSERT INTO mixedcase_ VALUES (1)"],
    "names of 63 bytes": f"INSERT INTO {LONG} VALUES (DEFAULT), (DEFAULT); DELETE FROM {LONG}"
    " WHERE a23456789_b23456789_c23456789_d23456789_e23456789_f23456789_456 = 1",
    "other schemas": ["DELETE FROM other.item", "INSERT INTO other.item (item) VALUES (3)"],
    "a search path": "SET search_path = other; INSERT INTO item (item) VALUES (3)",
    # TRUNCATE by the test
    "truncate": "TRUNCATE detail",
    "truncate cascade": "TRUNCATE country CASCADE",
    "truncate restart identity": ["TRUNCATE other.item RESTART IDENTITY",
                                  "INSERT INTO other.item (item) VALUES (1)"],
    "truncate restart identity cascade": "TRUNCATE item, event RESTART IDENTITY CASCADE",
    "truncate and write": ["TRUNCATE bag", "INSERT INTO bag VALUES (1, 'twice'), (9, NULL)"],
    "truncate, rolled back": "BEGIN; TRUNCATE item RESTART IDENTITY CASCADE; ROLLBACK",
    # COPY
    "copy": copy,
    "copy as a replica": copy_as_replica,
    # Triggers, rules, policies
    "triggers that write": [
        "INSERT INTO audited (name) VALUES ('b')",
        "UPDATE audited SET name = 'c'",
        "DELETE FROM audited",
    ],
    "triggers that always fire": [
        "INSERT INTO always_audited VALUES (2, 'b')",
        "DELETE FROM always_audited WHERE id = 1",
    ],
    "triggers of partitions that always fire": [
        "INSERT INTO event_audited VALUES (2, '2024-01-01')",
        "DELETE FROM event_audited WHERE id = 1",
    ],
    "trigger that raises on delete": [
        "INSERT INTO undeletable VALUES (2, 'b')",
        "UPDATE undeletable SET name = 'z'",
    ],
    "statement trigger of a table that refers": "INSERT INTO watched VALUES (1)",
    "rule that forbids delete": ["INSERT INTO ruled VALUES (2, 'b')", "UPDATE ruled SET id = 5"],
    "rule that always forbids delete": "INSERT INTO always_ruled VALUES (2)",
    "through a view": [
        "INSERT INTO item_of_france (name, country) VALUES ('dice', 'fr')",
        "UPDATE item_of_france SET name = 'x'",
    ],
    "row-level security": ["INSERT INTO secret VALUES (3, 'a')", "UPDATE secret SET word = 'c'"],
    "row-level security, forced": [
        "INSERT INTO guarded VALUES (3, 'a')",
        "DELETE FROM guarded WHERE word = 'a'",
    ],
    "rows that a policy hides": as_root(
        "UPDATE guarded SET word = 'zz'", "INSERT INTO guarded VALUES (4, 'zz')"
    ),
    # Constraints
    "exclusion constraint": ["INSERT INTO booking VALUES (1, '[7,9)')",
                             "UPDATE booking SET during = '[2,6)' WHERE room = 1 AND 1 <@ during"],
    "deferred unique": "BEGIN; INSERT INTO ranked VALUES (1, 'c'); DELETE FROM ranked WHERE name = 'a';"
    " COMMIT",
    "constraint not valid, other rows": "UPDATE grandfathered SET size = 2 WHERE id = 2",
    # Types and tables of unusual build
    "types": ["UPDATE typed SET mood = 'sad', home = ('x', 1), bytes = '\\x00', class = 'bag'"],
    "types, deleted": "DELETE FROM typed; INSERT INTO typed (id, lasts) VALUES (1, '1 day')",
    "composite-typed table": ["DELETE FROM address_book", "INSERT INTO address_book VALUES ('b', 2)"],
    "toast-size value": ["UPDATE long SET text = text || 'x'",
                         "INSERT INTO long SELECT 2, text FROM long"],
    "rows that are equal": ["DELETE FROM bag WHERE ctid = '(0,1)'", "INSERT INTO bag VALUES (2, NULL)"],
    "more rows that are equal": "INSERT INTO bag SELECT * FROM bag",
    "dropped columns": ["INSERT INTO dropped VALUES (2, 'd', 6)", "UPDATE dropped SET e = 9 WHERE a = 1"],
    "generated column": ["INSERT INTO doubled (a) VALUES (3)", "UPDATE doubled SET a = 9 WHERE a = 1"],
    "identity always": ["INSERT INTO detail (item) VALUES (1)", "DELETE FROM detail WHERE id = 2"],
    "no columns": ["DELETE FROM nothing WHERE ctid = '(0,1)'"],
    "no columns, more rows": "INSERT INTO nothing SELECT FROM nothing",
    "virtual column": ["UPDATE virtual SET a = 7", "INSERT INTO virtual VALUES (3, 3)"],
    "only generated columns": ["DELETE FROM only_generated"],
    "unlogged": ["DELETE FROM unlogged", "INSERT INTO unlogged (name) VALUES ('b')"],
    # Sequences
    "bare nextval": "SELECT nextval('fresh'), nextval('used'), nextval('downward')",
    "nextval, rolled back": "BEGIN; SELECT nextval('fresh'), nextval('used'); ROLLBACK",
    "setval": "SELECT setval('fresh', 77), setval('used', 1), setval('downward', 100)",
    "setval, not called": """
        SELECT setval('fresh', 77, false), setval('used', 2, false), setval('downward', 98, false)
    """,
    "setval to its start": "SELECT setval('fresh', 5, true), setval('used', 1, false)",
    "setval after the largest key": """
        SELECT setval('numbered_id_seq', (SELECT max(id) + 1 FROM numbered), false)
    """,
    "setval of a table written to": """
        INSERT INTO empty_one (id) VALUES (9); SELECT setval('empty_one_id_seq', 10, false)
    """,
    "setval of a partitioned table": """
        INSERT INTO event (id, at) VALUES (9, '2024-01-01'); SELECT setval('event_id_seq', 1, false)
    """,
    "cached sequence": "SELECT nextval('cached')",
    "many values": "SELECT nextval('used') FROM generate_series(1, 1000)",
    "rows in gaps of a table": gaps_filled,
    "rows in gaps and at the end": sessions(
        "VACUUM gaps", "INSERT INTO gaps SELECT n, repeat('x', 500) FROM generate_series(2000, 2099) AS n"
    ),
    "rows in gaps, then savepoints": [
        "VACUUM gaps",
        "BEGIN; INSERT INTO gaps VALUES (1, 'a'); SAVEPOINT s; INSERT INTO gaps VALUES (2, 'b');"
        " ROLLBACK TO s; INSERT INTO gaps VALUES (3, 'c'); COMMIT",
    ],
    "uncounted rows in gaps": as_root(
        "VACUUM gaps", "SET track_counts = off", "INSERT INTO gaps VALUES (1, 'a')"
    ),
    # Several sessions
    "temporary tables": temporary_tables,
    "listen and notify": listen_and_notify,
    "two writers": two_writers,
    "serializable writers": serializable_writers,
    "a session for each statement": sessions(
        "INSERT INTO item (name) VALUES ('a')", "DELETE FROM detail", "SELECT nextval('used')"
    ),
    "session died in a transaction": session_died_in_transaction,
    "session died in a statement": session_died_in_statement,
    "two-phase commit": two_phase_commit,
    "two-phase rollback": two_phase_rollback,
    # Large objects
    "large object created": "SELECT lo_from_bytea(0, 'new'), lo_create(5000)",
    "large object made longer": "SELECT lo_put(4711, 9, ' and more')",
    "large object made shorter": "SELECT lo_truncate(lo_open(4712, 131072), 3)",
    "large object changed": "SELECT lo_put(4712, 2500, 'other')",
    "large object removed": "SELECT lo_unlink(4711)",
    "large objects, all removed": "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
    # Size
    "large table": f"INSERT INTO ballast {FILL}",
    "large table that is referred to": [
        f"INSERT INTO ballast {FILL}",
        "INSERT INTO ballast_note (ballast) SELECT id FROM ballast WHERE id < 99",
    ],
    "large table in the reach of reference rows": [
        f"INSERT INTO stock {FILL}",
        "UPDATE shelf SET stock = 10",
    ],
    "large table with reference rows": [f"INSERT INTO heap {FILL}", "UPDATE heap SET text = 'x'"],
    "large table, rolled back": f"BEGIN; INSERT INTO heap {FILL}; ROLLBACK",
}  # fmt: skip
NEWER = {"merge": 15, "merge that deletes only": 15, "virtual column": 18}  # since this version


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    """One database per kind: what a reset leaves behind shows in the next situation too."""
    with database(request, kind, EVERYTHING, newer=(18, VIRTUAL)) as base:
        yield base


def play(base: Base, situation: Situation) -> None:
    if callable(situation):
        situation(base)
    else:
        base.execute(*([situation] if isinstance(situation, str) else situation))


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_reset_restores_everything(base: Base, name: str) -> None:
    if base.server.facts.major < NEWER.get(name, 0):
        return
    play(base, SITUATIONS[name])

    outcome = base.reset()

    assert outcome == ResetResult(reclone_reason=None, leaks=())
    assert difference(base.origin, base.dump()) == {}
