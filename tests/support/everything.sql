-- A schema with one of everything that a reset has to bring back, with rows in it that are
-- the template's own ("reference rows"). It takes no more than the right to create databases.

-- Plain tables and what refers to them

CREATE TABLE country (
    code text PRIMARY KEY,
    name text NOT NULL UNIQUE
);
INSERT INTO country VALUES ('fr', 'France'), ('jp', 'Japan'), ('pe', 'Peru');

CREATE TABLE item (
    id      serial PRIMARY KEY,
    name    text NOT NULL,
    country text REFERENCES country ON UPDATE CASCADE ON DELETE SET NULL,
    parent  int REFERENCES item ON DELETE CASCADE,
    changed timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON item (name);
INSERT INTO item (name, country, parent)
VALUES ('chess', 'fr', NULL), ('pawn', 'fr', 1), ('go', 'jp', NULL);

CREATE TABLE detail (
    id   int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item int NOT NULL REFERENCES item ON DELETE CASCADE,
    note text
);
INSERT INTO detail (item, note) VALUES (1, 'of wood'), (3, 'of slate');

CREATE TABLE empty_one (
    id   bigserial PRIMARY KEY,
    item int REFERENCES item ON DELETE RESTRICT,
    note text
);

-- Cycles: two tables that refer to each other, checked at once and at commit

CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg;
INSERT INTO egg VALUES (1, NULL);
INSERT INTO hen VALUES (1, 1);
UPDATE egg SET hen = 1;

CREATE TABLE man (id int PRIMARY KEY, wife int NOT NULL);
CREATE TABLE wife (
    id  int PRIMARY KEY,
    man int NOT NULL REFERENCES man DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE man ADD FOREIGN KEY (wife) REFERENCES wife DEFERRABLE INITIALLY DEFERRED;
INSERT INTO man VALUES (1, 1);
INSERT INTO wife VALUES (1, 1);

-- Partitions, two levels of them, and a table that refers to all of them

CREATE TABLE event (
    id   bigserial,
    at   date NOT NULL,
    kind text NOT NULL DEFAULT 'a',
    PRIMARY KEY (id, at, kind)
) PARTITION BY RANGE (at);
CREATE TABLE event_old PARTITION OF event FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE event_new PARTITION OF event FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)
    PARTITION BY LIST (kind);
CREATE TABLE event_new_a PARTITION OF event_new FOR VALUES IN ('a');
CREATE TABLE event_new_rest PARTITION OF event_new DEFAULT;
INSERT INTO event (at, kind) VALUES ('2019-05-05', 'a'), ('2024-05-05', 'a'), ('2024-05-05', 'b');

CREATE TABLE event_note (
    id    int PRIMARY KEY,
    event bigint,
    at    date,
    kind  text,
    FOREIGN KEY (event, at, kind) REFERENCES event ON DELETE CASCADE
);
INSERT INTO event_note VALUES (1, 2, '2024-05-05', 'a');

-- Inheritance

CREATE TABLE place (name text, size int);
CREATE TABLE town (mayor text) INHERITS (place);
INSERT INTO place VALUES ('sea', 1);
INSERT INTO town VALUES ('Ulm', 2, 'Ada');

-- Names that need quotes, names that our SQL uses itself, names of 63 bytes

CREATE SCHEMA "Odd ""schema"" %s $1";
CREATE TABLE "Odd ""schema"" %s $1"."Select" (
    "t" int, "r" text, "b" text, "now" text, "body" text, "position" int, "relation" int, "%s" text,
    "a ""b"" c" text
);
INSERT INTO "Odd ""schema"" %s $1"."Select" VALUES (1, 'r', 'b', 'now', 'body', 1, 1, '%', 'a');
CREATE TABLE mixedCase_ (id int);
CREATE TABLE "MixedCase" ("Id" serial PRIMARY KEY, "order" int);
INSERT INTO "MixedCase" ("order") VALUES (1);
CREATE TABLE a23456789_b23456789_c23456789_d23456789_e23456789_f23456789_123 (
    a23456789_b23456789_c23456789_d23456789_e23456789_f23456789_456 serial
);
INSERT INTO a23456789_b23456789_c23456789_d23456789_e23456789_f23456789_123 VALUES (DEFAULT);
CREATE SCHEMA other;
CREATE TABLE other.item (id serial PRIMARY KEY, item int REFERENCES public.item ON DELETE CASCADE);
INSERT INTO other.item (item) VALUES (2);

-- Triggers and rules of the user's own

CREATE TABLE audit (id bigserial PRIMARY KEY, what text NOT NULL);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit (what) VALUES (TG_OP || ' ' || TG_TABLE_NAME);
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE '% is not for %', TG_TABLE_NAME, TG_OP;
END
$$;
CREATE TABLE audited (id serial PRIMARY KEY, name text);
INSERT INTO audited (name) VALUES ('a');
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON audited
    FOR EACH ROW EXECUTE FUNCTION note();

CREATE TABLE always_audited (id int PRIMARY KEY, name text);
INSERT INTO always_audited VALUES (1, 'a');
CREATE TRIGGER "Note it" AFTER INSERT OR DELETE ON always_audited
    FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE always_audited ENABLE ALWAYS TRIGGER "Note it";
CREATE TRIGGER replica BEFORE INSERT OR DELETE ON always_audited
    FOR EACH ROW EXECUTE FUNCTION refuse();
ALTER TABLE always_audited ENABLE REPLICA TRIGGER replica;

CREATE TABLE event_audited (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE event_audited_all PARTITION OF event_audited DEFAULT;
INSERT INTO event_audited VALUES (1, '2024-01-01');
CREATE TRIGGER note AFTER INSERT OR DELETE ON event_audited FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE event_audited ENABLE ALWAYS TRIGGER note;

CREATE TABLE undeletable (id int PRIMARY KEY, name text);
INSERT INTO undeletable VALUES (1, 'a');
CREATE TRIGGER refuse BEFORE DELETE ON undeletable FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER refuse_all BEFORE TRUNCATE ON undeletable EXECUTE FUNCTION refuse();

-- a trigger that fires by a key that cascades, though it finds no row
CREATE TABLE watched (id int PRIMARY KEY);
CREATE TABLE watcher (
    id      int REFERENCES watched ON DELETE CASCADE,
    cleared int REFERENCES watched ON DELETE SET NULL
);
CREATE TRIGGER note AFTER UPDATE OR DELETE ON watcher EXECUTE FUNCTION note();

CREATE TABLE ruled (id int, name text);
INSERT INTO ruled VALUES (1, 'a');
CREATE RULE keep AS ON DELETE TO ruled DO INSTEAD NOTHING;
CREATE TABLE ruled_log (what text);
CREATE RULE log_it AS ON INSERT TO ruled DO ALSO INSERT INTO ruled_log VALUES (NEW.name);

CREATE TABLE always_ruled (id int);
INSERT INTO always_ruled VALUES (1);
CREATE RULE keep AS ON DELETE TO always_ruled DO INSTEAD NOTHING;
ALTER TABLE always_ruled ENABLE ALWAYS RULE keep;

CREATE VIEW item_of_france AS SELECT * FROM item WHERE country = 'fr';

-- Constraints

CREATE TABLE booking (
    room   int,
    during int4range,
    EXCLUDE USING gist (during WITH &&)
);
INSERT INTO booking VALUES (1, '[1,5)');
CREATE TABLE ranked (rank int UNIQUE DEFERRABLE INITIALLY DEFERRED, name text);
INSERT INTO ranked VALUES (1, 'a'), (2, 'b');
CREATE TABLE grandfathered (id int PRIMARY KEY, size int);
INSERT INTO grandfathered VALUES (1, -1), (2, 1);
ALTER TABLE grandfathered ADD CHECK (size > 0) NOT VALID;

-- Types

CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE address AS (street text, number positive);
CREATE TABLE typed (
    id     int PRIMARY KEY,
    mood   mood,
    size   positive,
    home   address,
    homes  address[],
    words  text[],
    matrix int[][],
    json   json,
    jsonb  jsonb,
    bytes  bytea,
    span   int4range,
    at     timestamptz,
    day    date,
    lasts  interval,
    price  money,
    exact  numeric,
    single real,
    double double precision,
    fixed  char(5),
    one    "char",
    flags  bit varying,
    uuid   uuid,
    net    inet,
    point  point,
    search tsvector,
    class  regclass
);
INSERT INTO typed VALUES (
    1, 'fine', 3, ('Rue "d''Ulm", \ ', 45), ARRAY[('a', 1), NULL]::address[], '{NULL,"",a b,"{,}"}',
    '[0:1][2:3]={{1,2},{3,4}}', '{"b": 1,  "a": 1}', '{"b": 1, "a": [1.0, null]}', '\x00ff5c',
    '(,5]', '1890-01-01 00:00:00.000001+00', 'infinity', '-1 mon +2 days -03:04:05.6', '-1234.56',
    '1.000', '0.1', '0.1', 'a', 'x', '101', '00000000-0000-0000-0000-000000000001', '10.0.0.1/8',
    '(0.1,-0)', 'a:1 b:2A', 'item'
);
INSERT INTO typed VALUES (2);
CREATE TABLE address_book OF address;
INSERT INTO address_book VALUES ('a', 1);
CREATE TABLE long (id int PRIMARY KEY, text text);
INSERT INTO long SELECT 1, string_agg(md5(n::text), '') FROM generate_series(1, 3000) n;

-- Tables of unusual build

CREATE TABLE bag (n int, note text);
INSERT INTO bag VALUES (1, 'twice'), (1, 'twice'), (2, NULL), (2, NULL), (NULL, NULL);
CREATE TABLE dropped (a int, b text, c int DEFAULT 7, d text);
INSERT INTO dropped VALUES (1, 'b', 2, 'd');
ALTER TABLE dropped DROP COLUMN b, DROP COLUMN c;
ALTER TABLE dropped ADD COLUMN e int NOT NULL DEFAULT 5;
CREATE TABLE doubled (
    id int GENERATED BY DEFAULT AS IDENTITY,
    a  int,
    b  int GENERATED ALWAYS AS (a * 2) STORED
);
INSERT INTO doubled (a) VALUES (1), (2);
CREATE TABLE nothing ();
INSERT INTO nothing SELECT FROM generate_series(1, 3);
CREATE TABLE only_generated (b int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO only_generated DEFAULT VALUES;
CREATE UNLOGGED TABLE unlogged (id serial PRIMARY KEY, name text);
INSERT INTO unlogged (name) VALUES ('a');

-- Row-level security: for others, and forced upon the owner too

CREATE TABLE secret (id int PRIMARY KEY, word text);
INSERT INTO secret VALUES (1, 'a'), (2, 'b');
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY short ON secret USING (word < 'b');
CREATE TABLE guarded (id int PRIMARY KEY, word text);
INSERT INTO guarded VALUES (1, 'a'), (2, 'b');
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY short ON guarded USING (word < 'b');
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;

-- Sequences that belong to no table

CREATE SEQUENCE fresh START 5;
CREATE SEQUENCE used;
SELECT nextval('used'), nextval('used');
CREATE SEQUENCE downward INCREMENT -2 MAXVALUE 100 START 100 CYCLE;
CREATE SEQUENCE cached CACHE 10;
-- and one whose table has rows with keys that it did not give
CREATE TABLE numbered (id serial PRIMARY KEY);
INSERT INTO numbered VALUES (1), (2);

-- What a reset empties by TRUNCATE once it has grown, and what it may not

CREATE TABLE ballast (id serial PRIMARY KEY, text text);
CREATE TABLE ballast_note (id serial PRIMARY KEY, ballast int REFERENCES ballast);
CREATE TABLE stock (id int PRIMARY KEY, text text);
CREATE TABLE shelf (id int PRIMARY KEY, stock int REFERENCES stock);
INSERT INTO shelf VALUES (1, NULL);
CREATE TABLE heap (id int PRIMARY KEY, text text);
INSERT INTO heap VALUES (1, 'reference');
CREATE TABLE gaps (id int PRIMARY KEY, text text);     -- many rows; the first pages have dead ones
INSERT INTO gaps SELECT n, repeat('x', 100) FROM generate_series(1, 1300) AS n;
DELETE FROM gaps WHERE id <= 250;
CREATE TABLE grown (n int);

-- A view that holds rows, and large objects

CREATE MATERIALIZED VIEW item_count AS SELECT count(*) FROM item;
CREATE UNIQUE INDEX ON item_count (count);
SELECT lo_from_bytea(4711, 'reference'), lo_from_bytea(4712, repeat('long ', 1000)::bytea);
