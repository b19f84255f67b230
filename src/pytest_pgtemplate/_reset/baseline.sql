-- The state that a reset restores: the template after migrating and seeding, and the layers on top of
-- it (layers.sql).
--
-- PostgreSQL never changes a row version. So a row version (xmin) as old as the state is unchanged, and
-- a reset leaves it alone. It deletes younger versions, and inserts rows of the state that are missing
-- from "baseline". That table stores rows as text, not in copies of the user's tables: so it depends on
-- no table, column or type of the user, and a test may drop any of them.

CREATE TABLE pgtemplate.relation (
    id       oid    PRIMARY KEY,
    name     text   NOT NULL,               -- qualified and quoted
    covers   oid[]  NOT NULL,               -- tables to which a statement on this one can write
    keyed    boolean NOT NULL,              -- has a primary key, so no two rows are equal
    rows     bigint NOT NULL DEFAULT 0,     -- number of rows in the state
    since    xid    NOT NULL,               -- rows older than this transaction belong to the state,
    younger  xid[]  NOT NULL DEFAULT '{}',  -- and so do rows that these transactions wrote
    leaving  boolean NOT NULL DEFAULT false,    -- except for the rows in pgtemplate.leaving
    large    bigint NOT NULL,               -- size in bytes above which TRUNCATE is worth its cost
    tail     tid    NOT NULL DEFAULT '(0,0)',   -- last row of the state; new rows usually follow it
    closure  oid[],                         -- tables for TRUNCATE, by foreign keys; NULL: do not truncate
    rest     text,                          -- statements that disable triggers and rules for a reset
    wake     text                           -- statements that enable them again
);

CREATE TABLE pgtemplate.baseline (
    relation oid    NOT NULL,
    position bigint NOT NULL,               -- a reset inserts missing rows in this order
    body     text   NOT NULL COLLATE "C",   -- the row as text (a composite value)
    layer    int    NOT NULL DEFAULT 0,     -- the layer that wrote the row; 0: the template
    replaced int,                           -- the layer that changed or deleted it; NULL: in the state
    place    tid,                           -- its ctid when the layer was added
    PRIMARY KEY (relation, position)
);

CREATE TABLE pgtemplate.sequence (
    id         oid     PRIMARY KEY,
    name       text    NOT NULL,
    owner      oid,             -- the table of a serial or identity column
    last_value bigint  NOT NULL,
    is_called  boolean NOT NULL
);

CREATE TABLE pgtemplate.large_object (
    id       oid   NOT NULL,
    owner    oid   NOT NULL,
    acl      aclitem[],
    body     bytea NOT NULL,
    comment  text,
    layer    int   NOT NULL DEFAULT 0,
    replaced int
);

-- Whether a trigger or rule fires in a session like this one.
CREATE FUNCTION pgtemplate.fires(enabled "char") RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT enabled = 'A'
        OR enabled = CASE current_setting('session_replication_role')
                          WHEN 'replica' THEN 'R' ELSE 'O' END
$$;

-- All tables of the user: ordinary tables, partitioned tables, partitions and inheritance children.
-- Not those to which this role may not write: its tests cannot change them.
INSERT INTO pgtemplate.relation (id, name, covers, keyed, since, large)
SELECT c.oid,
       format('%I.%I', n.nspname, c.relname),
       ARRAY(WITH RECURSIVE family (id, kind) AS (
                 SELECT c.oid, c.relkind
                 UNION
                 SELECT child.oid, child.relkind
                   FROM family
                   JOIN pg_inherits i ON i.inhparent = family.id
                   JOIN pg_class child ON child.oid = i.inhrelid
             )
             SELECT id FROM family WHERE kind = 'r'),
       EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary),
       pg_current_xact_id()::xid,
       pg_relation_size(c.oid) + :large
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgtemplate')
   AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE');

-- What would get in the way of a reset, which never updates: triggers, rules, and policies that are
-- forced upon the owner. Also statement triggers of tables that refer to this one by a key that
-- cascades: it runs its statement, whether it finds a row or not.
UPDATE pgtemplate.relation r
   SET rest = command.off, wake = command.on_again
  FROM (SELECT id, string_agg(off, '; '), string_agg(on_again, '; ')
          FROM (SELECT f.reset,
                       format('ALTER TABLE ONLY %s DISABLE %s %I', r.name, what, f.name),
                       format('ALTER TABLE ONLY %s ENABLE %s %s %I', r.name,
                              CASE enabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END,
                              what, f.name)
                  FROM (SELECT tgrelid, tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_trigger
                         WHERE NOT tgisinternal AND tgtype & (4 | 8 | 32) <> 0  -- INSERT, DELETE, TRUNCATE
                         UNION ALL
                        SELECT c.confrelid, tgrelid, 'TRIGGER', tgname, tgenabled
                          FROM pg_trigger JOIN pg_constraint c ON c.conrelid = tgrelid
                         WHERE NOT tgisinternal AND tgtype & 1 = 0 AND c.contype = 'f'
                           AND tgtype & CASE c.confdeltype WHEN 'c' THEN 8  -- DELETE
                                                           WHEN 'n' THEN 16  -- UPDATE
                                                           WHEN 'd' THEN 16 ELSE 0 END <> 0
                           AND current_setting('session_replication_role') <> 'replica'
                         UNION ALL
                        SELECT ev_class, ev_class, 'RULE', rulename, ev_enabled FROM pg_rewrite
                         WHERE ev_type IN ('3', '4')  -- INSERT, DELETE
                       ) AS f (reset, id, what, name, enabled)
                  JOIN pgtemplate.relation r USING (id)
                 WHERE pgtemplate.fires(enabled)
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
BEGIN
    FOR r IN SELECT id, name, rest, wake FROM pgtemplate.relation WHERE id = ANY (covers) LOOP
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        EXECUTE format(     -- FROM ONLY: partitions and children are rows of "relation" themselves
            'INSERT INTO pgtemplate.baseline (relation, position, body)
             SELECT %s, row_number() OVER (ORDER BY ctid), (t.*)::text FROM ONLY %s AS t',
            r.id, r.name);
        EXECUTE format(
            'UPDATE pgtemplate.relation SET tail = coalesce((SELECT ctid FROM ONLY %s
                                                              ORDER BY ctid DESC LIMIT 1), tail)
              WHERE id = %s', r.name, r.id);
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
    END LOOP;

    FOR r IN SELECT c.oid AS id,
                    format('%I.%I', n.nspname, c.relname) AS name,
                    (SELECT d.refobjid FROM pg_depend d
                      WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                        AND d.refclassid = 'pg_class'::regclass
                        AND d.deptype IN ('a', 'i')) AS owner
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relpersistence <> 't' AND n.nspname <> 'pgtemplate'
                AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'UPDATE') END
    LOOP
        EXECUTE format('INSERT INTO pgtemplate.sequence
                        SELECT %s, %L, %L, last_value, is_called FROM %s',
                       r.id, r.name, r.owner, r.name);
    END LOOP;
END
$$;

UPDATE pgtemplate.relation
   SET rows = held.rows
  FROM (SELECT relation, count(*) FROM pgtemplate.baseline GROUP BY relation) AS held (id, rows)
 WHERE held.id = relation.id;

-- TRUNCATE must include all tables that refer to this one, directly or indirectly. There is no closure
-- if one of them has a TRUNCATE trigger, or is a partition (foreign keys concern the whole table).
UPDATE pgtemplate.relation r
   SET closure = reached.tables
  FROM (WITH RECURSIVE reach (origin, id) AS (
            SELECT id, id FROM pgtemplate.relation
            UNION
            SELECT reach.origin, c.conrelid
              FROM reach JOIN pg_constraint c ON c.confrelid = reach.id AND c.contype = 'f'
        )
        SELECT reach.origin, array_agg(reach.id)
          FROM reach
          JOIN pg_class c ON c.oid = reach.id
          LEFT JOIN pgtemplate.relation t ON t.id = reach.id
         GROUP BY reach.origin
        HAVING bool_and(t.id IS NOT NULL
                        AND c.relkind = 'r'
                        AND NOT c.relispartition
                        AND NOT EXISTS (SELECT FROM pg_trigger
                                         WHERE tgrelid = t.id AND tgtype & 32 <> 0  -- TRUNCATE
                                           AND pgtemplate.fires(tgenabled)))
       ) AS reached (origin, tables)
 WHERE reached.origin = r.id;

INSERT INTO pgtemplate.large_object
SELECT oid, lomowner, lomacl, lo_get(oid), obj_description(oid, 'pg_largeobject')
  FROM pg_largeobject_metadata;

ANALYZE pgtemplate.relation, pgtemplate.sequence;
