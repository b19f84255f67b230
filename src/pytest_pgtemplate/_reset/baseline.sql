-- The state that a reset restores: the template after migrating and seeding, and the layers on top of
-- it (layer_tables.sql).
--
-- A version of a row never changes: if it is as old as the state, it has the content of the state, and a
-- reset leaves it alone. Only rows that a test has updated or deleted are restored from the baseline. The
-- baseline stores rows as text, not in copies of their tables. So nothing here depends on a table, a
-- column or a type of the user, and a test may drop any of them.
--
-- All tables of the plugin are unlogged: no publication FOR ALL TABLES includes them, and a crash of the
-- server empties them, like the user's own unlogged tables. An empty table "intact" shows such a crash.
--
-- The user may have functions with the names of PostgreSQL's functions. So every function that is called
-- from outside sets its search_path, and so does the installation. Only functions that read or write whole
-- rows run with the search_path of the user's sessions: the names in the text of a row depend on it, and
-- the functions of constraints and generated columns may, too.
CREATE FUNCTION pgtemplate.execute(statement text) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    rows bigint;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END
$$;
CREATE FUNCTION pgtemplate.evaluate(query text) RETURNS int[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    result int[];
BEGIN
    EXECUTE query INTO result;
    RETURN result;
END
$$;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE UNLOGGED TABLE pgtemplate.intact (yes boolean);   -- empty after a crash of the server
INSERT INTO pgtemplate.intact VALUES (true);

CREATE UNLOGGED TABLE pgtemplate.relation (
    id                    oid     PRIMARY KEY,
    name                  text    NOT NULL,               -- qualified and quoted
    stored_in             oid[]   NOT NULL,               -- the tables with its rows: itself, partitions, children
    has_primary_key       boolean NOT NULL,               -- so no two rows are equal
    has_generated_columns boolean NOT NULL,               -- stored ones
    is_scanned            boolean NOT NULL,               -- this role may not create a trigger on it
    unvalidated_children  oid[],                          -- tables with a NOT VALID foreign key to this one
    rows                  bigint  NOT NULL DEFAULT 0,     -- number of rows in the state
    boundary_xid          xid     NOT NULL,               -- rows older than this transaction are in the state,
    younger_xids          xid[]   NOT NULL DEFAULT '{}',  -- and so are rows that these transactions wrote,
    has_removed_rows      boolean NOT NULL DEFAULT false, -- except for the rows in pgtemplate.removed_row
    truncate_size         bigint  NOT NULL,               -- size in bytes above which TRUNCATE is worth its cost
    last_ctid             tid     NOT NULL DEFAULT '(0,0)', -- last row of the state; new rows usually follow it
    truncate_with         oid[],                          -- tables that TRUNCATE must name; NULL: do not truncate
    disable_triggers      text,                           -- statements that disable triggers, rules and policies
    enable_triggers       text                            -- statements that enable them again
);

CREATE UNLOGGED TABLE pgtemplate.baseline (
    relation    oid    NOT NULL,
    position    bigint NOT NULL,                -- a reset inserts missing rows in this order
    row_text    text   NOT NULL COLLATE "C",    -- the row as text (a composite value)
    layer       int    NOT NULL DEFAULT 0,      -- the layer that wrote the row; 0: the template
    replaced_by int,                            -- the layer that changed or deleted it; NULL: in the state
    row_ctid    tid,                            -- its ctid when the layer was added
    PRIMARY KEY (relation, position)
);

CREATE UNLOGGED TABLE pgtemplate.sequence (
    id         oid     PRIMARY KEY,
    name       text    NOT NULL,
    cached     boolean NOT NULL,    -- sessions take several values at a time (CACHE)
    readable   boolean NOT NULL,    -- this role has SELECT on it, not only USAGE
    uncalled   boolean NOT NULL,    -- in the template, is_called is false
    last_value bigint  NOT NULL,
    is_called  boolean NOT NULL
);

-- A session may have cached values of a sequence (CACHE). RESTART gives the sequence a new file, so the
-- session discards them. setval() would let the session use them.
CREATE FUNCTION pgtemplate.restart_sequence(sequence text, value bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', sequence, value);
END
$$;

CREATE UNLOGGED TABLE pgtemplate.large_object (
    id          oid   NOT NULL,
    owner       oid   NOT NULL,
    acl         aclitem[],
    comment     text,
    data        bytea,              -- NULL: this role may not read it
    layer       int   NOT NULL DEFAULT 0,
    replaced_by int
);

CREATE FUNCTION pgtemplate.read_large_object(pg_largeobject_metadata) RETURNS bytea
LANGUAGE sql AS $$
    SELECT lo_get($1.oid)
     WHERE pg_has_role($1.lomowner, 'USAGE')
        OR EXISTS (SELECT FROM aclexplode($1.lomacl) AS a
                    WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
$$;

CREATE FUNCTION pgtemplate.is_user_object(pg_class) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT $1.relnamespace <> ALL (ARRAY['pg_catalog', 'information_schema', 'pg_toast']::regnamespace[])
       AND $1.relnamespace <> (SELECT relnamespace FROM pg_class
                                WHERE oid = 'pgtemplate.relation'::regclass)
$$;

-- Whether a trigger or rule fires in this session.
CREATE FUNCTION pgtemplate.fires(enabled "char") RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT enabled = 'A'
        OR enabled = CASE current_setting('session_replication_role')
                          WHEN 'replica' THEN 'R' ELSE 'O' END
$$;

-- Every table of the user: ordinary and partitioned tables, partitions, inheritance children. Tables of
-- other roles are included, because a SECURITY DEFINER function may write to them. Tables of an extension
-- that this role may not write to, like those of PostGIS, are left out.
INSERT INTO pgtemplate.relation (id, name, stored_in, has_primary_key, has_generated_columns, is_scanned,
                                 unvalidated_children, boundary_xid, truncate_size)
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
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attgenerated = 's'),
       NOT has_table_privilege(c.oid, 'TRIGGER'),
       (SELECT array_agg(conrelid) FROM pg_constraint
         WHERE confrelid = c.oid AND contype = 'f' AND NOT convalidated
           AND confdeltype IN ('c', 'n', 'd')),
       pg_current_xact_id()::xid,
       pg_relation_size(c.oid) + :large
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p')
   AND c.relpersistence <> 't'
   AND pgtemplate.is_user_object(c)
   AND has_schema_privilege(n.oid, 'USAGE')
   AND has_table_privilege(c.oid, 'SELECT')
   AND (has_table_privilege(c.oid, 'TRIGGER') OR NOT row_security_active(c.oid))
   AND (has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
        OR NOT EXISTS (SELECT FROM pg_depend
                        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e'));

-- Before PostgreSQL 15, the copies of a trigger on partitions are internal, like the triggers of keys.
CREATE FUNCTION pgtemplate.is_user_object(pg_trigger) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT NOT $1.tgisinternal
        OR $1.tgparentid <> 0 AND NOT EXISTS (SELECT FROM pg_constraint
                                               WHERE oid = $1.tgconstraint AND contype <> 't')
$$;

-- Returns a query that finds the id of a table if its rows differ from the state.
CREATE FUNCTION pgtemplate.scan_query(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN row_security_active($1.id) THEN    -- some rows may be invisible to this role
            format('SELECT %s::oid', $1.id)
        ELSE
            format('SELECT r.id FROM pgtemplate.relation r
                     WHERE r.id = %1$s
                       AND CASE WHEN r.rows = 0 THEN EXISTS (SELECT FROM ONLY %2$s)
                           ELSE (SELECT count(*) <> r.rows
                                     OR NOT bool_and(age(t.xmin) > age(r.boundary_xid)
                                                     OR t.xmin = ANY (r.younger_xids))
                                   FROM ONLY %2$s AS t) END', $1.id, $1.name) END
$$;

-- A reset deletes and inserts rows. It disables the triggers and rules that these statements would fire,
-- and row-level security that is forced upon the owner. It also disables statement triggers of tables with
-- a cascading foreign key to this one: the key runs its statement even if it finds no row.
UPDATE pgtemplate.relation r
   SET disable_triggers = command.off, enable_triggers = command.on_again
  FROM (SELECT id, string_agg(off, '; '), string_agg(on_again, '; ')
          FROM (SELECT f.reset,
                       format('ALTER TABLE ONLY %s DISABLE %s %I', r.name, what, f.name),
                       format('ALTER TABLE ONLY %s ENABLE %s %s %I', r.name,
                              CASE enabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' END,
                              what, f.name)
                  FROM (SELECT tgrelid, tgrelid, 'TRIGGER', tgname, tgenabled FROM pg_trigger t
                         WHERE pgtemplate.is_user_object(t) AND tgtype & (4 | 8 | 32) <> 0  -- INSERT, DELETE, TRUNCATE
                         UNION ALL
                        SELECT c.confrelid, tgrelid, 'TRIGGER', tgname, tgenabled
                          FROM pg_trigger t JOIN pg_constraint c ON c.conrelid = tgrelid
                         WHERE pgtemplate.is_user_object(t) AND tgtype & 1 = 0 AND c.contype = 'f'
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
    FOR r IN SELECT id, name, disable_triggers, enable_triggers
               FROM pgtemplate.relation
              WHERE id = ANY (stored_in)
    LOOP
        IF r.disable_triggers IS NOT NULL THEN EXECUTE r.disable_triggers; END IF;
        PERFORM pgtemplate.execute(format(  -- FROM ONLY: only the rows stored in this table
            'INSERT INTO pgtemplate.baseline (relation, position, row_text)
             SELECT %s, pg_catalog.row_number() OVER (ORDER BY ctid), (t.*)::text FROM ONLY %s AS t',
            r.id, r.name));
        EXECUTE format(
            'UPDATE pgtemplate.relation SET last_ctid = coalesce((SELECT ctid FROM ONLY %s
                                                                   ORDER BY ctid DESC LIMIT 1), last_ctid)
              WHERE id = %s', r.name, r.id);
        IF r.enable_triggers IS NOT NULL THEN EXECUTE r.enable_triggers; END IF;
    END LOOP;

    FOR r IN SELECT c.oid AS id,
                    format('%I.%I', n.nspname, c.relname) AS name,
                    s.seqstart AS first,
                    s.seqcache > 1 AS cached,
                    has_sequence_privilege(c.oid, 'SELECT') AS readable
               FROM pg_class c
               JOIN pg_namespace n ON n.oid = c.relnamespace
               JOIN pg_sequence s ON s.seqrelid = c.oid
              WHERE c.relpersistence <> 't' AND pgtemplate.is_user_object(c)
                AND has_schema_privilege(n.oid, 'USAGE')
                AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT, USAGE') END
    LOOP
        EXECUTE format('INSERT INTO pgtemplate.sequence
                        SELECT %s, %L, %L, %L, %4$L AND NOT is_called, last_value, is_called FROM %s',
                       r.id, r.name, r.cached, r.readable, CASE WHEN r.readable THEN r.name
                       ELSE format('(SELECT coalesce(last, %s), last IS NOT NULL
                                       FROM pg_sequence_last_value(%s) AS last)
                                    AS s (last_value, is_called)', r.first, r.id) END);
    END LOOP;
END
$$;

UPDATE pgtemplate.relation
   SET rows = held.rows
  FROM (SELECT relation, count(*) FROM pgtemplate.baseline GROUP BY relation) AS held (id, rows)
 WHERE held.id = relation.id;

-- TRUNCATE must name all tables that refer to this one, directly or indirectly. It cannot be used if one
-- of them has a TRUNCATE trigger, or is a partition (foreign keys concern the whole table).
UPDATE pgtemplate.relation r
   SET truncate_with = reached.tables
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
SELECT oid, lomowner, lomacl, obj_description(oid, 'pg_largeobject'), pgtemplate.read_large_object(m)
  FROM pg_largeobject_metadata m;

ANALYZE pgtemplate.relation, pgtemplate.sequence;
