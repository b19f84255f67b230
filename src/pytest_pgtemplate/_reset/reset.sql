-- One reset is one call of this function, with the tables that were written to: NULL when the schema was
-- changed, so that only a new clone helps; else the tables that want a VACUUM, which cannot run in here.
-- The layers that are going belong to the state no more.
CREATE FUNCTION pgtemplate.reset(going int[], written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    grown text[] := '{}';
BEGIN
    IF pgtemplate.schema_changed(written) THEN
        RETURN NULL;
    END IF;
    IF going <> '{}' THEN
        written := written || pgtemplate.take_down(going);
    END IF;
    IF written <> '{}' THEN
        grown := pgtemplate.restore(written);
        PERFORM pgtemplate.forget();
    END IF;
    IF going <> '{}' THEN
        PERFORM pgtemplate.have_left();
    END IF;
    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved_sequences(written);
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        PERFORM pgtemplate.restore_large_objects();
    END IF;
    RETURN grown;
END
$$;
