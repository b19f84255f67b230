-- What the template holds after migrating and seeding, so that a reset can put it back.
--
-- A row version never changes: one that is as old as the template is as the template had it, and a
-- reset leaves it alone. Only rows that a test has updated or deleted come out of pgtemplate.baseline.
-- They are kept there as text, not as copies of their tables: so nothing here depends on a table, a
-- column or a type of the user's, and a test may drop any of them.

CREATE TABLE pgtemplate.relation (
    id       oid    PRIMARY KEY,
    name     text   NOT NULL,               -- qualified and quoted
    covers   oid[]  NOT NULL,               -- where the rows are that a statement on it may have written
    rows     bigint NOT NULL DEFAULT 0,     -- how many of its own the template has
    since    xid    NOT NULL,               -- rows as old as this transaction are the template's,
    refilled xid[]  NOT NULL DEFAULT '{}',  -- and those that resets have put back since then
    large    bigint NOT NULL,               -- bytes above which it has grown
    refill   text   NOT NULL,               -- a statement that puts back the rows that are missing
    truncate text,                          -- what to truncate with it when it has grown; NULL: do not
    rest     text,                          -- statements that let its triggers and rules rest meanwhile
    wake     text                           -- statements that bring these back
);

CREATE TABLE pgtemplate.baseline (
    relation oid    NOT NULL,
    position bigint NOT NULL,               -- rows come back in the order they had
    copy     bigint NOT NULL,               -- 1, 2, .. where rows are equal
    body     text   COLLATE "C" NOT NULL,   -- the row, as PostgreSQL writes composites
    PRIMARY KEY (relation, position)
);

-- Every table of the user's: ordinary ones, partitions and partitioned ones, inheritance children.
-- What this role may not write to, its tests cannot have changed either.
INSERT INTO pgtemplate.relation (id, name, covers, since, large, refill)
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
       pg_current_xact_id()::xid,
       pg_relation_size(c.oid) + :large,
       format($$INSERT INTO %1$s %2$s OVERRIDING SYSTEM VALUE
                SELECT %3$s
                  FROM (SELECT then.body
                          FROM pgtemplate.baseline AS then
                         WHERE then.relation = %4$s
                           AND NOT EXISTS (
                               SELECT FROM pgtemplate.rows_of(%4$s) AS now
                                WHERE now.body = then.body AND now.copy = then.copy)
                         ORDER BY then.position) AS missing,
                       unnest(ARRAY[missing.body::%1$s]) AS r$$,
              t.name, '(' || a.columns || ')', a.values, c.oid)
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
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'pgtemplate')
   AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE');
