-- Tracking by looking: probe every table. Nothing of ours has to be in the user's database.
CREATE FUNCTION pgtemplate.dirty() RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    r       record;
    differs boolean;
    found   oid[] := '{}';
BEGIN
    -- Waits for transactions that are still open: what they wrote cannot be seen yet.
    IF EXISTS (SELECT FROM pgtemplate.relation) THEN
        EXECUTE (SELECT 'LOCK TABLE ' || string_agg('ONLY ' || name, ', ') || ' IN SHARE MODE'
                   FROM pgtemplate.relation);
    END IF;
    FOR r IN SELECT id, probe FROM pgtemplate.relation WHERE id = ANY (covers) LOOP
        EXECUTE r.probe INTO differs;
        IF differs THEN
            found := found || r.id;
        END IF;
    END LOOP;
    RETURN found;
END
$$;

CREATE FUNCTION pgtemplate.forget() RETURNS void LANGUAGE sql AS '';
