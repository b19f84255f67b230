CREATE TABLE item (id serial PRIMARY KEY, name text);
INSERT INTO item (name) VALUES ('a'), ('b');
CREATE TABLE detail (id serial PRIMARY KEY, item int REFERENCES item ON DELETE CASCADE);
CREATE TABLE ballast (id int, text text);
CREATE FUNCTION asks_for_a_lock(int) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock($1); RETURN true; END';
CREATE TABLE locking (id int CHECK (asks_for_a_lock(id)));
INSERT INTO locking VALUES (4711);
SELECT lo_from_bytea(5000, 'large');

-- The index lets ANALYZE call the function, which waits if autovacuum calls it.
CREATE TABLE analyzed (id int);
CREATE FUNCTION waits_in_autovacuum(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT usesysid IS NULL FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()) THEN
        PERFORM pg_current_xact_id(), pg_advisory_xact_lock(4712);
    END IF;
    RETURN 1;
END $$;
CREATE INDEX ON analyzed (waits_in_autovacuum(id));
