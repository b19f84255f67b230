-- One reset is one call of this function: NULL when the schema was changed, so that only a new clone
-- helps; else the tables that want a VACUUM, which cannot run in here. The layers that are going belong
-- to the state no more.
CREATE FUNCTION pgtemplate.reset(going int[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    written oid[] := pgtemplate.written();
BEGIN
    IF pgtemplate.schema_changed(written) THEN
        RETURN NULL;
    END IF;
    IF going <> '{}' THEN
        written := written || pgtemplate.take_down(going);
    END IF;
    RETURN pgtemplate.put_back(written);
END
$$;

CREATE FUNCTION pgtemplate.put_back(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    grown text[] := '{}';
BEGIN
    IF written <> '{}' THEN
        grown := pgtemplate.restore(written);
        PERFORM pgtemplate.forget();
        IF EXISTS (SELECT FROM pgtemplate.leaving) THEN
            PERFORM pgtemplate.have_left();
        END IF;
    END IF;
    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved_sequences(written);
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        PERFORM pgtemplate.restore_large_objects();
    END IF;
    RETURN grown;
END
$$;
