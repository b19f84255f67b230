-- Sequences that do not stand where the template left them; PostgreSQL 13 to 17.
-- pg_sequence_last_value() is fast but blind to a sequence that was set and not called since
-- (setval(.., false)). So those that may have been set, of the tables written to (dirty) and of no
-- table, are read one by one.
CREATE FUNCTION pgtemplate.moved(dirty oid[])
RETURNS SETOF pgtemplate.sequence
LANGUAGE plpgsql AS $$
DECLARE
    s    pgtemplate.sequence;
    seen bigint;
BEGIN
    RETURN QUERY
    SELECT * FROM pgtemplate.sequence
     WHERE pg_sequence_last_value(id) IS DISTINCT FROM CASE WHEN is_called THEN last_value END;

    FOR s IN SELECT * FROM pgtemplate.sequence
              WHERE NOT is_called
                AND (owner IS NULL OR owner = ANY (dirty))
                AND pg_sequence_last_value(id) IS NULL
    LOOP
        EXECUTE 'SELECT last_value FROM ' || s.name INTO seen;
        IF seen <> s.last_value THEN
            RETURN NEXT s;
        END IF;
    END LOOP;
END
$$;
