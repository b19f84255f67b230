"""What a walk reads step by step, a little at a time, is what is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from pytest_pgtemplate import _urls
from pytest_pgtemplate._child.catalog import CatalogReader
from pytest_pgtemplate._reset.snapshot import object_functions
from pytest_pgtemplate._server import Mark, Server

# Each comes after the others. Many write one row of one catalog, or take one away, and no other.
STEPS = """
CREATE SCHEMA other
CREATE TABLE item (id serial PRIMARY KEY, name text DEFAULT 'x' NOT NULL, size int)
INSERT INTO item (size) VALUES (1), (2)
UPDATE item SET size = 3 WHERE size = 1
DELETE FROM item
ALTER TABLE item ADD note text
ALTER TABLE item ALTER note SET DEFAULT 'y'
ALTER TABLE item ALTER note DROP DEFAULT
ALTER TABLE item ALTER note SET STATISTICS 7
ALTER TABLE item ALTER note SET STORAGE PLAIN
ALTER TABLE item DROP note
ALTER TABLE item ADD CONSTRAINT sized CHECK (size > 0)
ALTER TABLE item RENAME CONSTRAINT sized TO big
ALTER TABLE item DROP CONSTRAINT big
CREATE INDEX item_name ON item (name, size)
ALTER TABLE item CLUSTER ON item_name
ALTER TABLE item SET WITHOUT CLUSTER
ALTER INDEX item_name RENAME TO item_by_name
DROP INDEX item_by_name
CREATE SEQUENCE counter
ALTER SEQUENCE counter INCREMENT 2
ALTER SEQUENCE counter OWNED BY item.size
ALTER SEQUENCE counter OWNED BY item.name
ALTER SEQUENCE counter OWNED BY NONE
ALTER SEQUENCE counter SET SCHEMA other
COMMENT ON TABLE item IS 'one'
COMMENT ON COLUMN item.name IS 'two'
COMMENT ON COLUMN item.size IS 'three'
COMMENT ON COLUMN item.name IS NULL
COMMENT ON COLUMN item.size IS 'four'
COMMENT ON COLUMN item.size IS NULL
GRANT SELECT (name) ON item TO PUBLIC
REVOKE SELECT (name) ON item FROM PUBLIC
GRANT SELECT ON item TO PUBLIC
CREATE TABLE more () INHERITS (item)
CREATE TABLE bare ()
CREATE TABLE below () INHERITS (bare)
ALTER TABLE below NO INHERIT bare
ALTER TABLE below INHERIT bare
ALTER TABLE more NO INHERIT item
CREATE TABLE part (id int) PARTITION BY RANGE (id)
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (2)
ALTER TABLE part DETACH PARTITION part_1
ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (1) TO (3)
CREATE VIEW names AS SELECT name FROM item
CREATE OR REPLACE VIEW names AS SELECT upper(name) AS name FROM item
ALTER TABLE item RENAME name TO label
ALTER TABLE item RENAME TO thing
DROP VIEW names
CREATE MATERIALIZED VIEW sizes AS SELECT size FROM thing
REFRESH MATERIALIZED VIEW sizes WITH NO DATA
CREATE RULE quiet AS ON DELETE TO thing DO INSTEAD NOTHING
ALTER TABLE thing DISABLE RULE quiet
DROP RULE quiet ON thing
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'
CREATE TRIGGER noted AFTER INSERT ON thing FOR EACH ROW EXECUTE FUNCTION note()
ALTER TABLE thing DISABLE TRIGGER noted
DROP TRIGGER noted ON thing
CREATE POLICY own ON thing USING (size < 9)
ALTER POLICY own ON thing USING (size < 8)
DROP POLICY own ON thing
CREATE STATISTICS two ON label, size FROM thing
DROP STATISTICS two
CREATE TYPE mood AS ENUM ('sad', 'fine')
ALTER TYPE mood ADD VALUE 'glad' BEFORE 'fine'
ALTER TYPE mood RENAME VALUE 'glad' TO 'happy'
CREATE DOMAIN price AS int CHECK (VALUE > 0)
ALTER DOMAIN price SET DEFAULT 7
ALTER DOMAIN price DROP CONSTRAINT price_check
CREATE TYPE span AS RANGE (subtype = int)
DROP TYPE span
CREATE TYPE pair AS (a int, b int)
ALTER TYPE pair ADD ATTRIBUTE c int
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)
DROP AGGREGATE total (int)
CREATE COLLATION mine FROM "C"
DROP COLLATION mine
CREATE OPERATOR FAMILY numbers USING btree
ALTER OPERATOR FAMILY numbers USING btree ADD OPERATOR 1 < (int, int)
ALTER OPERATOR FAMILY numbers USING btree ADD FUNCTION 1 btint4cmp(int, int)
ALTER OPERATOR FAMILY numbers USING btree DROP OPERATOR 1 (int, int)
ALTER OPERATOR FAMILY numbers USING btree DROP FUNCTION 1 (int, int)
CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)
DROP OPERATOR === (int, int)
CREATE CAST (mood AS int) WITH INOUT
DROP CAST (mood AS int)
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8
DROP CONVERSION latin
CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = simple)
CREATE TEXT SEARCH CONFIGURATION search (PARSER = "default")
ALTER TEXT SEARCH CONFIGURATION search ADD MAPPING FOR word, email WITH words
ALTER TEXT SEARCH CONFIGURATION search DROP MAPPING FOR email
CREATE FOREIGN DATA WRAPPER far
CREATE SERVER away FOREIGN DATA WRAPPER far
ALTER SERVER away OPTIONS (ADD host 'there')
CREATE FOREIGN TABLE remote (id int) SERVER away
DROP SERVER away CASCADE
CREATE PUBLICATION news FOR TABLE thing, bare
ALTER PUBLICATION news DROP TABLE bare
ALTER PUBLICATION news SET (publish = 'insert')
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC
ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC
CREATE TABLE copied AS SELECT n FROM generate_series(1, 1001) AS n
DELETE FROM copied WHERE n > 3
TRUNCATE copied
DROP TABLE copied
DROP SCHEMA other CASCADE
"""


@pytest.fixture
def connection(server: Server, prefix: str) -> Iterator[Connection]:
    server.create(f"{prefix}_catalog", Mark("scratch", "none"))
    url = _urls.sync_url(server.url.set(database=f"{prefix}_catalog"))
    with create_engine(url, poolclass=NullPool).connect() as connection:
        yield connection


@pytest.mark.parametrize("one_transaction", [False, True])
def test_each_step_is_seen(connection: Connection, one_transaction: bool) -> None:
    """The second reader is new in each step, so it reads everything."""

    def commit() -> None:
        if not one_transaction:
            connection.commit()

    reader = CatalogReader(connection, object_functions(), one_transaction=one_transaction)
    reader.read()
    commit()
    for step in STEPS.strip().splitlines():
        before = reader.read()
        commit()
        connection.exec_driver_sql(step)
        commit()
        now = reader.read()
        assert now == CatalogReader(connection, [], one_transaction=one_transaction).read(), step
        assert now != before, step
        commit()
