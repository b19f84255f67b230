-- For roles that may not set session_replication_role: foreign keys are enforced, and cascade.

-- Foreign keys are checked at the end of a statement. So one statement with CTEs deletes the new rows of
-- all tables, in any order, and another one inserts all missing rows.
CREATE FUNCTION pgtemplate.all_of(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'WITH ' || string_agg(format('part_%s AS (%s)', n, statement), ', ') || ' SELECT'
      FROM unnest(statements) WITH ORDINALITY AS each (statement, n)
$$;

-- Deleting the new version of an updated row would cascade to the rows that refer to it. So if a row is
-- missing to which others may refer, this table and all tables that refer to it, directly or indirectly,
-- are emptied and filled again.
CREATE FUNCTION pgtemplate.reach(missing oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE reach (id) AS (
        SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY (missing)
        UNION
        SELECT further.id
          FROM reach
         CROSS JOIN LATERAL (
               SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = reach.id
               UNION ALL
               SELECT unnest(covers) FROM pgtemplate.relation r WHERE r.id = reach.id
               ) AS further (id)
    )
    SELECT id FROM reach
$$;
