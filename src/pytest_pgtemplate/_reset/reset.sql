-- One reset is one call of this function: NULL when the schema was changed, so that only a new clone
-- helps; else the tables that want a VACUUM, which cannot run in here.
CREATE FUNCTION pgtemplate.reset() RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    written oid[] := pgtemplate.written();
    grown   text[] := '{}';
BEGIN
    IF pgtemplate.schema_changed(written) THEN
        RETURN NULL;
    END IF;
    IF written <> '{}' THEN
        grown := pgtemplate.restore(written);
        PERFORM pgtemplate.forget();
    END IF;
    PERFORM pgtemplate.restore_sequences(written);
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        PERFORM pgtemplate.restore_large_objects();
    END IF;
    RETURN grown;
END
$$;
