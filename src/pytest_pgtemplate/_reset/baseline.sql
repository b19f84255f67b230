-- What the template holds after migrating and seeding, so that a reset can put it back.
--
-- Rows are kept as text, not as copies of their tables: so nothing here depends on a table, a
-- column or a type of the user's, and a test may drop any of them.

CREATE TABLE pgtemplate.relation (
    id       oid   PRIMARY KEY,
    name     text  NOT NULL,    -- qualified and quoted
    covers   oid[] NOT NULL,    -- where the rows are that a statement on it may have written
    probe    text  NOT NULL,    -- a query: does it differ from its baseline?
    empty    text  NOT NULL,    -- a statement that takes all rows out
    refill   text,              -- a statement that puts the baseline rows in; NULL: there are none
    truncate text,              -- a quicker way to empty it when it has grown; NULL: there is none
    rest     text,              -- statements that let its triggers and policies rest meanwhile
    wake     text               -- statements that bring these back
);

CREATE TABLE pgtemplate.baseline (
    relation oid    NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,   -- rows come back in the order they had
    body     text   NOT NULL                        -- the row, as PostgreSQL writes composites
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

-- Every table of the user's: ordinary ones, partitions and partitioned ones, inheritance children.
-- FROM ONLY: each answers for its own rows.
INSERT INTO pgtemplate.relation (id, name, covers, probe, empty, refill)
SELECT c.oid,
       t.name,
       ARRAY(WITH RECURSIVE family (id, kind) AS (
                 SELECT c.oid, c.relkind
                 UNION
                 SELECT child.oid, child.relkind
                   FROM family
                   JOIN pg_inherits i ON i.inhparent = family.id
                   JOIN pg_class child ON child.oid = i.inhrelid
             )
             SELECT id FROM family WHERE kind = 'r'),
       CASE WHEN row_security_active(c.oid) THEN 'SELECT true'  -- there may be rows we cannot see
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
 WHERE c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgtemplate')
   AND n.nspname NOT LIKE 'pg\_toast%';

-- Triggers that would fire in a reset all the same: as a replica, those that are ALWAYS or REPLICA
-- ones; without that right, all that are enabled, and forced policies.
UPDATE pgtemplate.relation r
   SET rest = command.off, wake = command.on_again
  FROM (SELECT id, string_agg(off, '; '), string_agg(on_again, '; ')
          FROM (SELECT r.id,
                       format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', r.name, t.tgname),
                       format('ALTER TABLE ONLY %s ENABLE %s TRIGGER %I', r.name,
                              CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA'
                                               ELSE '' END, t.tgname)
                  FROM pgtemplate.relation r JOIN pg_trigger t ON t.tgrelid = r.id
                 WHERE NOT t.tgisinternal
                   AND t.tgenabled = ANY (
                       CASE current_setting('session_replication_role')
                            WHEN 'replica' THEN '{A,R}' ELSE '{A,O}' END::"char"[])
                 UNION ALL
                SELECT r.id,
                       format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', r.name),
                       format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.name)
                  FROM pgtemplate.relation r JOIN pg_class c ON c.oid = r.id
                 WHERE c.relforcerowsecurity AND row_security_active(r.id)
               ) AS each (id, off, on_again)
         GROUP BY id) AS command (id, off, on_again)
 WHERE command.id = r.id;

DO $$
DECLARE
    r record;
    n bigint;
BEGIN
    FOR r IN SELECT id, name, rest, wake FROM pgtemplate.relation LOOP
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        EXECUTE format('INSERT INTO pgtemplate.baseline (relation, body)
                        SELECT %s, t::text FROM ONLY %s AS t', r.id, r.name);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
        IF n = 0 THEN
            UPDATE pgtemplate.relation SET refill = NULL WHERE id = r.id;
        END IF;
    END LOOP;

    UPDATE pgtemplate.relation
       SET probe = format(
           'SELECT EXISTS (
                (SELECT t::text FROM ONLY %2$s AS t
                 EXCEPT ALL SELECT body FROM pgtemplate.baseline WHERE relation = %1$s)
                UNION ALL
                (SELECT body FROM pgtemplate.baseline WHERE relation = %1$s
                 EXCEPT ALL SELECT t::text FROM ONLY %2$s AS t))', id, name)
     WHERE refill IS NOT NULL AND NOT row_security_active(id);

    FOR r IN SELECT c.oid AS id,
                    format('%I.%I', n.nspname, c.relname) AS name,
                    (SELECT d.refobjid FROM pg_depend d
                      WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                        AND d.refclassid = 'pg_class'::regclass
                        AND d.deptype IN ('a', 'i')) AS owner
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

-- TRUNCATE has to take all tables that refer to this one along: so not when one of them holds
-- baseline rows, and not among partitions, which refer and are referred to as a whole.
UPDATE pgtemplate.relation r
   SET truncate = closure.command
  FROM (WITH RECURSIVE reach (origin, id) AS (
            SELECT id, id FROM pgtemplate.relation
            UNION
            SELECT reach.origin, c.conrelid
              FROM reach JOIN pg_constraint c ON c.confrelid = reach.id AND c.contype = 'f'
        )
        SELECT reach.origin, 'TRUNCATE ' || string_agg('ONLY ' || t.name, ', ')
          FROM reach
          JOIN pgtemplate.relation t USING (id)
          JOIN pg_class c ON c.oid = t.id
         GROUP BY reach.origin
        HAVING bool_and(t.refill IS NULL AND c.relkind = 'r' AND NOT c.relispartition)
       ) AS closure (origin, command)
 WHERE closure.origin = r.id;

INSERT INTO pgtemplate.large_object SELECT oid, lo_get(oid) FROM pg_largeobject_metadata;

CREATE INDEX ON pgtemplate.baseline (relation, position);
