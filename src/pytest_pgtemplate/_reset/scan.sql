-- Tracking by looking: probe every table. Nothing of ours has to be in the user's database.
CREATE FUNCTION pgtemplate.dirty() RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    r       record;
    differs boolean;
    found   oid[] := '{}';
BEGIN
    FOR r IN SELECT id, probe FROM pgtemplate.relation LOOP
        EXECUTE r.probe INTO differs;
        IF differs THEN
            found := found || r.id;
        END IF;
    END LOOP;
    RETURN found;
END
$$;
