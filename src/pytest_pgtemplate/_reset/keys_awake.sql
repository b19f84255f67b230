-- For roles that may not set session_replication_role: foreign keys are enforced, and cascade.

-- Foreign keys are checked at the end of a statement. So one statement with CTEs deletes the new rows of
-- all tables, in any order, and another one inserts all missing rows.
CREATE FUNCTION pgtemplate.all_of(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'WITH ' || string_agg(format('part_%s AS (%s)', n, statement), ', ') || ' SELECT'
      FROM unnest(statements) WITH ORDINALITY AS each (statement, n)
$$;

-- To take out the new version of a row of the template would cascade to rows that refer to it. So where
-- one is missing that others may refer to, and there are rows to take out, the table and all that refer
-- to it, however far, are emptied and filled anew.
CREATE FUNCTION pgtemplate.reach(missing oid[]) RETURNS SETOF oid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    r     pgtemplate.relation;
    found boolean;
    start oid[] := '{}';
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id = ANY (missing)
                AND id IN (SELECT confrelid FROM pg_constraint WHERE contype = 'f')
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s WHERE NOT (%s))', r.name, pgtemplate.is_old(r))
           INTO found;
        start := start || CASE WHEN found THEN r.id END;
    END LOOP;
    RETURN QUERY
    WITH RECURSIVE reach (id) AS (
        SELECT unnest(start)
        UNION
        SELECT further.id
          FROM reach
         CROSS JOIN LATERAL (
               SELECT conrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = reach.id
               UNION ALL
               SELECT unnest(t.covers) FROM pgtemplate.relation t WHERE t.id = reach.id
               ) AS further (id)
    )
    SELECT id FROM reach;
END
$$;

-- A key that was never validated (NOT VALID) may have rows that refer to nothing. Where a test has inserted
-- what they lack, to delete it again has taken them along.
CREATE FUNCTION pgtemplate.check_orphans(dirty oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r   pgtemplate.relation;
    old bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE rows > 0
                AND id IN (SELECT unnest(child.covers)
                             FROM pgtemplate.relation parent
                             JOIN pgtemplate.relation child ON child.id = ANY (parent.orphans)
                            WHERE parent.id = ANY (dirty))
    LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %s WHERE %s', r.name, pgtemplate.is_old(r)) INTO old;
        IF old < r.rows THEN
            RAISE 'rows of % referred to rows that did not exist, and a test has inserted those', r.name;
        END IF;
    END LOOP;
END
$$;
