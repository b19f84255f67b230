-- Objects that a reset cannot bring back by deleting new rows and inserting old ones alone, or that
-- it must not trust. Made by the role under test; what another role owns is in ``hostile_root.sql``.

CREATE TABLE item (id serial PRIMARY KEY, name text);
CREATE INDEX item_name ON item (name);
INSERT INTO item (name) VALUES ('a'), ('b');
CREATE TABLE bare (id serial PRIMARY KEY);

-- Columns with names that SQL and PL/pgSQL use for something else

CREATE TABLE odd (id int PRIMARY KEY, t text, boundary int, rows int);
INSERT INTO odd VALUES (1, NULL, 1, 1), (2, 'b', 2, 2);
CREATE MATERIALIZED VIEW viewed AS SELECT id AS oid, t AS since FROM odd;
CREATE UNIQUE INDEX ON viewed (oid);

-- Stored generated columns that are computed differently now than when the row was written

CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE TABLE shouted (id int PRIMARY KEY, name text, loud text GENERATED ALWAYS AS (shout(name)) STORED);
INSERT INTO shouted (id, name) VALUES (1, 'a'), (2, 'b');
CREATE OR REPLACE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1 || ''!''';

CREATE FUNCTION local_day(timestamptz) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT to_char($1, ''YYYY-MM-DD TZ'')';
CREATE TABLE zoned (id int PRIMARY KEY, at timestamptz, day text GENERATED ALWAYS AS (local_day(at)) STORED);
SET TimeZone = 'Asia/Tokyo';
INSERT INTO zoned (id, at) VALUES (1, '2024-01-01 22:00+00');
RESET TimeZone;

CREATE FUNCTION tenant() RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT current_setting(''app.tenant'', true)';
CREATE TABLE tenanted (id int PRIMARY KEY, tenant text GENERATED ALWAYS AS (coalesce(tenant(), '-')) STORED, n int);
SET app.tenant = 'first';
INSERT INTO tenanted (id) VALUES (1);
RESET app.tenant;

-- Rows that refer to nothing, by keys that were never validated

CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE orphan (id int PRIMARY KEY, parent int);
INSERT INTO orphan VALUES (1, 5), (2, NULL);
ALTER TABLE orphan ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE CASCADE NOT VALID;
CREATE TABLE orphan_of_orphan (orphan int REFERENCES orphan ON DELETE CASCADE);
INSERT INTO orphan_of_orphan VALUES (1);
CREATE TABLE half_orphan (id int PRIMARY KEY, parent int);
INSERT INTO half_orphan VALUES (1, 6);
ALTER TABLE half_orphan ADD FOREIGN KEY (parent) REFERENCES parent ON DELETE SET NULL NOT VALID;
CREATE TABLE node (id int PRIMARY KEY, parent int);
INSERT INTO node VALUES (1, 7);
ALTER TABLE node ADD FOREIGN KEY (parent) REFERENCES node ON DELETE CASCADE NOT VALID;

-- Settings and functions that change what SQL means

DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET array_nulls = off', current_database());
END $$;
CREATE TABLE listed (id int PRIMARY KEY, words text[]);
INSERT INTO listed VALUES (1, ARRAY['a', NULL, 'NULL']), (2, NULL);
CREATE FUNCTION public.unnest(oid[]) RETURNS SETOF oid LANGUAGE sql AS 'SELECT 0::oid WHERE false';
CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''''::text';
CREATE FUNCTION public.format(text, text, oid) RETURNS text LANGUAGE sql AS 'SELECT ''''::text';
CREATE FUNCTION public.format(text, text, integer, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''''::text';
CREATE FUNCTION public.setval(regclass, bigint, boolean) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';

-- A constraint whose function finds what it needs by the search path

CREATE FUNCTION smallest() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION is_size(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 >= smallest()';
CREATE TABLE sized (id int PRIMARY KEY, size int CHECK (is_size(size)));
INSERT INTO sized VALUES (1, 1), (2, 2);

-- Sequences

CREATE SEQUENCE cached CACHE 20;
CREATE TABLE cached_key (id int PRIMARY KEY DEFAULT nextval('cached'));
CREATE TABLE cached_identity (id int GENERATED ALWAYS AS IDENTITY (CACHE 20) PRIMARY KEY);

-- Large objects

SELECT lo_from_bytea(100, 'plain'), lo_from_bytea(101, 'granted'), lo_from_bytea(102, 'noted');
GRANT SELECT ON LARGE OBJECT 101 TO PUBLIC;
COMMENT ON LARGE OBJECT 102 IS 'a note';

-- A row trigger of a partitioned table that writes elsewhere

CREATE TABLE audit (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit VALUES (TG_OP);
    RETURN NULL;
END
$$;
CREATE TABLE event (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE event_new PARTITION OF event DEFAULT PARTITION BY LIST (id);
CREATE TABLE event_new_1 PARTITION OF event_new FOR VALUES IN (1);
CREATE TABLE event_new_rest PARTITION OF event_new DEFAULT;
INSERT INTO event VALUES (1, '2019-01-01'), (1, '2024-01-01'), (2, '2024-01-01');
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION note();

-- Rows that a constraint would not let in any more

CREATE TABLE grown (id int PRIMARY KEY, size int);
INSERT INTO grown VALUES (1, -1), (2, 1), (3, -3);
ALTER TABLE grown ADD CHECK (size > 0) NOT VALID;
