-- This role may not set session_replication_role: foreign keys are enforced, and cascade.

-- They are checked at the end of a statement: so one statement takes out the new rows of all tables,
-- whatever refers to whatever, and one puts back all that are missing.
CREATE FUNCTION pgtemplate.all_of(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'WITH ' || string_agg(format('part_%s AS (%s)', n, statement), ', ') || ' SELECT'
      FROM unnest(statements) WITH ORDINALITY AS each (statement, n)
$$;

-- To take out the new version of a row of the template would cascade to rows that refer to it. So where
-- one is missing that others may refer to, its table and all that refer to it, however far, are
-- emptied and filled anew.
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
