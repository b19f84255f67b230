-- What the template holds after migrating, so that a reset can put it back.
--
-- Rows are kept as text, not as copies of their tables: so nothing here depends on a table, a column
-- or a type of the user's, and a test may drop any of them.

CREATE TABLE pgtemplate.relation (
    id     oid  PRIMARY KEY,
    name   text NOT NULL,       -- qualified and quoted
    probe  text NOT NULL,       -- a query: does the table differ from its baseline?
    empty  text NOT NULL,       -- a statement that takes all rows out
    refill text                 -- a statement that puts the baseline rows in; NULL: there are none
);

CREATE TABLE pgtemplate.baseline (
    relation oid    NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,   -- rows come back in the order they had
    body     text   NOT NULL                        -- the row, as PostgreSQL writes composite values
);

CREATE TABLE pgtemplate.sequence (
    id         oid     PRIMARY KEY,
    name       text    NOT NULL,
    owner      oid,             -- the table that owns it (serial, identity); NULL: none does
    last_value bigint  NOT NULL,
    is_called  boolean NOT NULL
);

CREATE TABLE pgtemplate.large_object (
    id   oid   PRIMARY KEY,
    body bytea NOT NULL
);

-- Every ordinary table: partitions and inheritance children too, each on its own (FROM ONLY).
INSERT INTO pgtemplate.relation (id, name, probe, empty, refill)
SELECT c.oid,
       t.name,
       CASE WHEN row_security_active(c.oid) THEN 'SELECT true'  -- rows that we may not see
            ELSE format('SELECT EXISTS (SELECT FROM ONLY %s)', t.name) END,
       format('DELETE FROM ONLY %s', t.name),
       format('INSERT INTO %1$s (%2$s) OVERRIDING SYSTEM VALUE '
              'SELECT %3$s FROM (SELECT body FROM pgtemplate.baseline WHERE relation = %4$s '
              'ORDER BY position) AS b, unnest(ARRAY[b.body::%1$s]) AS r',
              t.name, a.columns, a.values, c.oid)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (SELECT format('%I.%I', n.nspname, c.relname)) AS t (name)
 CROSS JOIN LATERAL (
       SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
              string_agg('r.' || quote_ident(attname), ', ' ORDER BY attnum)
         FROM pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
       ) AS a (columns, values)
 WHERE c.relkind = 'r'
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgtemplate')
   AND n.nspname NOT LIKE 'pg\_toast%';

DO $$
DECLARE
    r  record;
    n  bigint;
BEGIN
    FOR r IN SELECT id, name FROM pgtemplate.relation LOOP
        EXECUTE format('INSERT INTO pgtemplate.baseline (relation, body)
                        SELECT %s, t::text FROM ONLY %s AS t', r.id, r.name);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n = 0 THEN
            UPDATE pgtemplate.relation SET refill = NULL WHERE id = r.id;
        ELSE
            UPDATE pgtemplate.relation
               SET probe = format(
                   'SELECT EXISTS (
                        (SELECT t::text FROM ONLY %2$s AS t
                         EXCEPT ALL SELECT body FROM pgtemplate.baseline WHERE relation = %1$s)
                        UNION ALL
                        (SELECT body FROM pgtemplate.baseline WHERE relation = %1$s
                         EXCEPT ALL SELECT t::text FROM ONLY %2$s AS t))', id, name)
             WHERE id = r.id;
        END IF;
    END LOOP;

    FOR r IN SELECT c.oid AS id,
                    format('%I.%I', n.nspname, c.relname) AS name,
                    (SELECT d.refobjid FROM pg_depend d
                      WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                        AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) AS owner
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname <> 'pgtemplate'
    LOOP
        EXECUTE format('INSERT INTO pgtemplate.sequence
                        SELECT %s, %L, %L, last_value, is_called FROM %s',
                       r.id, r.name, r.owner, r.name);
    END LOOP;
END
$$;

CREATE INDEX ON pgtemplate.baseline (relation, position);

INSERT INTO pgtemplate.large_object SELECT oid, lo_get(oid) FROM pg_largeobject_metadata;
