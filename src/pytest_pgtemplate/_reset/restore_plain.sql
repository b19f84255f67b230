-- Put the rows of the tables written to back; which tables have grown and want a VACUUM now.
-- For a role that may not set session_replication_role. Foreign keys are asked at the end of a
-- statement: so one statement takes out all new rows, whatever refers to whatever, and another one
-- puts back all that are missing. No row of the template is deleted, so none is deleted by cascade.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    r       record;
    deletes text[] := '{}';
    checks  text[] := '{"(0, false)"}';
    wake    text[] := '{}';
    missing oid[];
    grown   text[] := '{}';
BEGIN
    FOR r IN SELECT * FROM pgtemplate.dirty(written) LOOP
        CONTINUE WHEN r.size > r.large AND pgtemplate.truncated(r.truncate);
        IF r.size > r.large THEN
            grown := grown || r.name;
        END IF;
        IF r.rest IS NOT NULL THEN
            EXECUTE r.rest;
            wake := wake || r.wake;
        END IF;
        deletes := deletes || format('delete_%s AS (DELETE FROM ONLY %s WHERE NOT %s)',
                                     r.id, r.name, r.is_old);
        IF r.rows > 0 THEN
            checks := checks || format('(%s, (SELECT count(*) FROM ONLY %s WHERE %s) < %s)',
                                       r.id, r.name, r.is_old, r.rows);
        END IF;
    END LOOP;

    IF deletes <> '{}' THEN
        EXECUTE format('WITH %s SELECT ARRAY(SELECT id FROM (VALUES %s) AS t (id, is_short)
                                              WHERE is_short)',
                       array_to_string(deletes, ', '),
                       array_to_string(checks, ', '))
           INTO missing;
    END IF;
    IF missing <> '{}' THEN
        EXECUTE (SELECT format('WITH %s SELECT',
                               string_agg(format('refill_%s AS (%s)', id, refill), ', '))
                   FROM pgtemplate.relation WHERE id = ANY (missing));
        PERFORM pgtemplate.remember_refill(missing);
    END IF;
    IF wake <> '{}' THEN
        SET CONSTRAINTS ALL IMMEDIATE;  -- no table may be altered while checks are pending
        EXECUTE array_to_string(wake, '; ');
    END IF;
    RETURN grown;
END
$$;
