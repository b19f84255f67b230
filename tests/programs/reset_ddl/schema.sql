CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE TABLE item (
    id    serial PRIMARY KEY,
    name  text NOT NULL DEFAULT 'x',
    mood  mood,
    size  int CHECK (size > 0)
);
INSERT INTO item (name, size) VALUES ('a', 1), ('b', 2);
CREATE TABLE detail (id int PRIMARY KEY, item int REFERENCES item);
CREATE TABLE event (at date) PARTITION BY RANGE (at);
CREATE TABLE event_all PARTITION OF event DEFAULT;
CREATE TABLE loose (at date);
CREATE TABLE event_two (at date) PARTITION BY RANGE (at);
CREATE TABLE event_one PARTITION OF event_two FOR VALUES FROM ('2020-1-1') TO ('2021-1-1');
CREATE TABLE twice (id int);
INSERT INTO twice VALUES (1);
CREATE INDEX twice_id ON twice (id);
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE VIEW named AS SELECT name FROM item;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM item;
CREATE UNIQUE INDEX ON counted (count);
CREATE SEQUENCE number;
CREATE SCHEMA other;
CREATE TABLE "loose on pg_temp.x" (id int);
CREATE TABLE other.item (id int);
CREATE TRIGGER nothing AFTER INSERT ON detail FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE RULE ignore AS ON UPDATE TO detail DO INSTEAD NOTHING;
ALTER TABLE other.item ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON other.item USING (id > 0);
