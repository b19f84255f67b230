"""Layers whose rows are difficult to find, to restore or to remove.

``test_restores.py`` has such rows of the template.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import Base, database, difference
from support.kinds import Kind

SCRIPT = (Path(__file__).parent / "support" / "hostile.sql").read_text("utf-8")
MANY = 1500  # rows: more than a reset looks at one by one
SCRIPT += f"""
-- Many rows in partitions and in inheritance children

CREATE TABLE part (id int, kind text, note text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE part_a PARTITION OF part FOR VALUES IN ('a');
CREATE TABLE part_b PARTITION OF part FOR VALUES IN ('b') PARTITION BY RANGE (id);
CREATE TABLE part_b_low PARTITION OF part_b FOR VALUES FROM (MINVALUE) TO (100000);
CREATE TABLE part_b_high PARTITION OF part_b DEFAULT;
INSERT INTO part SELECT n, k, 'x' FROM generate_series(1, {MANY}) AS n, unnest('{{a,b}}'::text[]) AS k;
CREATE TABLE place (id int, note text);
CREATE TABLE town (PRIMARY KEY (id)) INHERITS (place);
CREATE TABLE city () INHERITS (town);
INSERT INTO town SELECT n, 'x' FROM generate_series(1, {MANY}) AS n;
INSERT INTO city SELECT n, 'x' FROM generate_series(1, {MANY}) AS n;

-- Keys of other kinds than a primary key

CREATE TABLE plan (room int, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO plan VALUES (1, '[1,5)');
CREATE TABLE named (name text NOT NULL, UNIQUE (name));
INSERT INTO named VALUES ('a');
CREATE COLLATION other (locale = 'C');
CREATE TABLE word (word text COLLATE "C" PRIMARY KEY);
CREATE TABLE use_of_word (word text COLLATE other REFERENCES word);
CREATE TABLE nested (id int PRIMARY KEY, parent int REFERENCES nested, twice int GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO nested VALUES (1), (2);
"""
PERIOD = """
CREATE TABLE stay (room int4range, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS));
CREATE TABLE meal (id int, room int4range, during daterange,
                   FOREIGN KEY (room, PERIOD during) REFERENCES stay (room, PERIOD during));
"""

# What each layer writes, the first one first, and then a test.
SITUATIONS: dict[str, tuple[list[str], str]] = {
    "leaf, and its parent": (
        ["INSERT INTO part_a VALUES (-1, 'a', 'new'); UPDATE part SET note = 'y' WHERE id = 7"],
        "DELETE FROM part WHERE id < 100",
    ),
    "leaf, and routed": (
        ["INSERT INTO part_a VALUES (-1, 'a', 'new'); INSERT INTO part VALUES (-2, 'a', 'new')"],
        "DELETE FROM part",
    ),
    "leaf of a leaf, and a delete above": (
        ["INSERT INTO part_b_low VALUES (-1, 'b', 'new'); DELETE FROM part_b WHERE id = 9"],
        "UPDATE part SET note = 'z'",
    ),
    "rows that move between partitions": (
        ["INSERT INTO part_b_high VALUES (100001, 'b', 'new');"
         "UPDATE part SET id = id + 200000 WHERE kind = 'b' AND id < 5"],
        "DELETE FROM part_b_high",
    ),
    "child, and its parent": (
        ["INSERT INTO city VALUES (-1, 'new'); DELETE FROM place WHERE id = 3"],
        "UPDATE place SET note = 'z'",
    ),
    "child of a child, and its parent": (
        ["INSERT INTO town VALUES (-1, 'new'); UPDATE place SET note = 'y' WHERE id = 3"],
        "TRUNCATE place",
    ),
    "routed rows in two layers": (
        ["INSERT INTO part SELECT n, 'a', 'one' FROM generate_series(-2000, -1) AS n",
         "INSERT INTO part_a VALUES (-3000, 'a', 'two'); UPDATE part SET note = 'u' WHERE id = -7"],
        "DELETE FROM part_a WHERE id < 10",
    ),
    "rows that a constraint would refuse": (["INSERT INTO grown VALUES (4, 4)"], "DELETE FROM item"),
    "such a row, deleted": (
        ["DELETE FROM grown WHERE id = 1", "INSERT INTO grown VALUES (4, 4)"],
        "UPDATE grown SET id = 40 WHERE id = 4",
    ),
    "an orphan beside a new row": (
        ["INSERT INTO orphan VALUES (3, NULL)"], "DELETE FROM orphan WHERE id = 3"
    ),
    "large object with privileges": (
        ["SELECT lo_from_bytea(200, 'new'); GRANT SELECT ON LARGE OBJECT 200 TO PUBLIC;"
         "COMMENT ON LARGE OBJECT 200 IS 'new'"],
        "SELECT lo_unlink(200)",
    ),
    "privileges of a large object": (
        ["GRANT UPDATE ON LARGE OBJECT 100 TO PUBLIC", "COMMENT ON LARGE OBJECT 102 IS 'mine'"],
        "REVOKE ALL ON LARGE OBJECT 100 FROM PUBLIC",
    ),
    "settings": (["INSERT INTO listed VALUES (3, '{NULL,a}')"], "DELETE FROM listed"),
    "cached sequence": (["INSERT INTO cached_key DEFAULT VALUES"], "DELETE FROM cached_key"),
    "uncalled sequence": (["SELECT pg_catalog.setval('bare_id_seq', 7, false)"], "SELECT nextval('bare_id_seq')"),
}  # fmt: skip

# Two layers, of which the second cannot stay without the first.
ENTANGLED = {
    "the same key again": ["DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (1, 'mine')"],
    "the same row again": ["DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (1, 'a')"],
    "a key of one's own": ["DELETE FROM named", "INSERT INTO named VALUES ('a')"],
    "the same time again": ["DELETE FROM plan", "INSERT INTO plan VALUES (2, '[4,9)')"],
    "updated, and the old key again": [
        "UPDATE item SET id = 50 WHERE id = 1", "INSERT INTO item VALUES (1, 'mine')",
    ],
    "across collations": ["INSERT INTO word VALUES ('w')", "INSERT INTO use_of_word VALUES ('w')"],
}  # fmt: skip
NEWER = {
    "a period": [
        "INSERT INTO stay VALUES ('[1,2)', '[2024-01-01,2024-02-01)')",
        "INSERT INTO meal VALUES (1, '[1,2)', '[2024-01-02,2024-01-03)')",
    ],
}
APART = {
    "across collations": ["INSERT INTO word VALUES ('w')", "INSERT INTO word VALUES ('v');"
                          "INSERT INTO use_of_word VALUES ('v')"],
    "another key": ["DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (3, 'a')"],
    "another time": ["INSERT INTO plan VALUES (2, '[5,7)')", "INSERT INTO plan VALUES (2, '[7,9)')"],
    # A plain role truncates this table, so that a row is put where the removed one was.
    "the same ctid": ["UPDATE nested SET parent = 1 WHERE id = 2", "INSERT INTO nested VALUES (3), (4)"],
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, kind: Kind) -> Iterator[Base]:
    with database(request, kind, SCRIPT, newer=(18, PERIOD)) as base:
        yield base


@pytest.fixture
def base(request: pytest.FixtureRequest, shared: Base) -> Iterator[Base]:
    yield from shared.provide(request)
    if left := shared.worker.resetter._layers:
        shared.reclone(left)


def keep(base: Base, layers: list[str]) -> None:
    for number, statement in enumerate(layers, start=1):
        base.execute(statement)
        outcome = base.worker.resetter.add_layer(number)
        assert (outcome.reclone_reason, outcome.leaks) == (None, ())


@pytest.mark.full("values")
@pytest.mark.parametrize("name", SITUATIONS)
def test_a_reset_restores_the_layers(base: Base, name: str) -> None:
    layers, test = SITUATIONS[name]
    keep(base, layers)
    wanted = base.dump()

    for _ in range(2):
        base.execute(test)
        outcome = base.reset()
        assert outcome.leaks == ()
        if outcome.reclone_reason is not None:
            base.reclone()
        assert difference(wanted, base.dump()) == {}
    base.execute("CREATE TABLE more ()")
    assert base.reset().reclone_reason is not None
    base.reclone()
    assert difference(wanted, base.dump()) == {}
    base.execute(test)
    if base.reset().reclone_reason is not None:
        base.reclone()
    assert difference(wanted, base.dump()) == {}

    for number in range(len(layers), 0, -1):
        if base.worker.reset([number]).reclone_reason is not None:
            base.reclone([number])
    assert difference(base.origin, base.dump()) == {}


def is_built_on(base: Base, layers: list[str]) -> bool:
    keep(base, layers)
    return base.worker.resetter.find_dependency([1], [2]) is not None


@pytest.mark.full("product")
@pytest.mark.parametrize("name", [*ENTANGLED, *NEWER])
def test_a_layer_that_depends_on_another_is_detected(base: Base, name: str) -> None:
    if name in NEWER and base.server.facts.major < 18:
        return
    assert is_built_on(base, ENTANGLED.get(name) or NEWER[name])


@pytest.mark.full("product")
@pytest.mark.parametrize("name", APART)
def test_a_layer_that_does_not_depend_on_another_is_accepted(base: Base, name: str) -> None:
    assert not is_built_on(base, APART[name])

    assert base.worker.reset([1]).reclone_reason is None
    assert base.worker.reset([2]).reclone_reason is None
    assert difference(base.origin, base.dump()) == {}
