-- Put the rows of the tables written to back; which tables have grown and want a VACUUM now.
-- For a role that may not set session_replication_role: foreign keys are checked at the end of each
-- statement, and cascade. So one statement takes out the new rows of all tables, whatever refers to
-- whatever, and one puts back all rows that are missing. To take out the new version of a row of the
-- template would cascade to rows that refer to it: where one is missing that others may refer to,
-- TRUNCATE takes its table and all that refer to it, and they are filled anew.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    r       pgtemplate.relation;
    dirty   oid[]  := '{}';
    counts  text[] := '{"SELECT 0::oid WHERE false"}';
    missing oid[];
    emptied oid[];
    steps   text;
    grown   text[] := '{}';
BEGIN
    FOR r IN SELECT * FROM pgtemplate.dirty(written) LOOP
        IF pg_relation_size(r.id) > r.large THEN
            CONTINUE WHEN pgtemplate.truncated(r.truncate);
            grown := grown || r.name;
        END IF;
        dirty := dirty || r.id;
        IF r.rows > 0 THEN
            counts := counts || format('SELECT %s::oid FROM ONLY %s WHERE %s HAVING count(*) < %s',
                                       r.id, r.name, pgtemplate.is_old(r), r.rows);
        END IF;
    END LOOP;
    EXECUTE format('SELECT ARRAY(%s)', array_to_string(counts, ' UNION ALL ')) INTO missing;
    emptied := ARRAY(SELECT pgtemplate.reach(missing));

    SELECT concat_ws('; ',
               string_agg(rest, '; '),
               'TRUNCATE ' || string_agg(name, ', ') FILTER (WHERE id = ANY (emptied)),
               'WITH ' || string_agg(
                   format('new_%s AS (DELETE FROM ONLY %s WHERE NOT %s)',
                          id, name, pgtemplate.is_old(every)), ', ')
                   FILTER (WHERE id <> ALL (emptied)) || ' SELECT',
               'WITH ' || string_agg(format('old_%s AS (%s)', id, refill), ', ')
                   FILTER (WHERE rows > 0 AND id = ANY (missing || emptied)) || ' SELECT',
               -- no table may be altered while checks are pending
               'SET CONSTRAINTS ALL IMMEDIATE; ' || string_agg(wake, '; '))
      INTO steps
      FROM pgtemplate.relation AS every
     WHERE id = ANY (dirty || emptied);
    EXECUTE steps;
    PERFORM pgtemplate.remember_refill(missing || emptied);
    RETURN grown;
END
$$;

-- The tables among these that others may refer to, and all that refer to them, however far.
CREATE FUNCTION pgtemplate.reach(start oid[]) RETURNS SETOF oid
LANGUAGE sql STABLE AS $$
    WITH RECURSIVE reach (id) AS (
        SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY (start)
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
