-- Put the baseline back: rows of the dirty tables, then sequences, then large objects.
-- As a replica no foreign key is enforced, no cascade and no trigger of the user's fires.
CREATE FUNCTION pgtemplate.restore(dirty oid[]) RETURNS void
LANGUAGE plpgsql
SET session_replication_role = replica AS $$
DECLARE
    step text;
BEGIN
    FOR step IN SELECT empty FROM pgtemplate.relation WHERE id = ANY (dirty) LOOP
        EXECUTE step;
    END LOOP;
    FOR step IN SELECT refill FROM pgtemplate.relation WHERE id = ANY (dirty) AND refill IS NOT NULL LOOP
        EXECUTE step;
    END LOOP;

    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved(dirty);
    PERFORM pgtemplate.restore_large_objects();
END
$$;
