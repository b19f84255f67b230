-- Put the baseline back, for a role that may not set session_replication_role.
-- TRUNCATE takes the tables written to together with all that refer to them, so no foreign key is
-- asked on the way out; one statement puts all rows in, so foreign keys are asked at its end, cycles
-- and all. Triggers and forced policies of the user's rest meanwhile.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    names   text;
    refills text;
    resting text;
    waking  text;
BEGIN
    IF written <> '{}' THEN
        WITH RECURSIVE reach (id) AS (
            SELECT unnest(covers) FROM pgtemplate.relation WHERE id = ANY (written)
            UNION
            SELECT further.id
              FROM reach
             CROSS JOIN LATERAL (
                   SELECT conrelid FROM pg_constraint WHERE confrelid = reach.id AND contype = 'f'
                   UNION ALL
                   SELECT unnest(covers) FROM pgtemplate.relation r WHERE r.id = reach.id
                   ) AS further (id)
        )
        SELECT string_agg(CASE c.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END || r.name, ', '),
               string_agg(format('refill_%s AS (%s)', r.id, r.refill), ', ')
                   FILTER (WHERE r.refill IS NOT NULL),
               string_agg(r.rest, '; '),
               string_agg(r.wake, '; ')
          INTO names, refills, resting, waking
          FROM reach
          JOIN pgtemplate.relation r USING (id)
          JOIN pg_class c ON c.oid = r.id;

        IF resting IS NOT NULL THEN EXECUTE resting; END IF;
        IF names IS NOT NULL THEN EXECUTE 'TRUNCATE ' || names; END IF;
        IF refills IS NOT NULL THEN EXECUTE 'WITH ' || refills || ' SELECT'; END IF;
        IF waking IS NOT NULL THEN
            SET CONSTRAINTS ALL IMMEDIATE;  -- no table may be altered while checks are pending
            EXECUTE waking;
        END IF;
    END IF;

    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved(written);
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        PERFORM pgtemplate.restore_large_objects();
    END IF;
    RETURN '{}';
END
$$;
