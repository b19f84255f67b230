-- For roles that may not set session_replication_role: foreign keys are enforced, and cascade.

-- Combines statements into one with CTEs. Foreign keys are checked at the end of a statement. So one
-- statement deletes the new rows of all tables, in any order, and another one inserts all missing rows.
CREATE FUNCTION pgtemplate.combine_statements(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'WITH ' || string_agg(format('part_%s AS (%s)', n, statement), ', ') || ' SELECT'
      FROM unnest(statements) WITH ORDINALITY AS each (statement, n)
$$;

-- Returns the tables that a reset must empty and fill again. To delete the new version of a row would
-- cascade to the rows that refer to it. So if a table is referenced by others, lacks rows of the state
-- ("missing") and has new rows, it is returned with all tables that refer to it directly or indirectly.
CREATE FUNCTION pgtemplate.tables_to_empty(missing oid[]) RETURNS SETOF oid
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
        EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s WHERE NOT (%s))',
                       r.name, pgtemplate.state_row_condition(r)) INTO found;
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
               SELECT unnest(t.stored_in) FROM pgtemplate.relation t WHERE t.id = reach.id
               ) AS further (id)
    )
    SELECT id FROM reach;
END
$$;

-- Raises an error if a reset has deleted rows of the state. A table with a NOT VALID foreign key may have
-- rows that refer to nothing. If a test inserts the rows that they refer to, deleting those cascades.
CREATE FUNCTION pgtemplate.check_orphans(dirty oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r   pgtemplate.relation;
    old bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE rows > 0
                AND id IN (SELECT unnest(child.stored_in)
                             FROM pgtemplate.relation parent
                             JOIN pgtemplate.relation child ON child.id = ANY (parent.unvalidated_children)
                            WHERE parent.id = ANY (dirty))
    LOOP
        EXECUTE format('SELECT count(*) FROM ONLY %s WHERE %s',
                       r.name, pgtemplate.state_row_condition(r)) INTO old;
        IF old < r.rows THEN
            RAISE 'rows of % referred to rows that did not exist, and a test has inserted those', r.name;
        END IF;
    END LOOP;
END
$$;
