-- One reset is one call of this function: NULL when the schema was changed, so that only a new clone
-- helps; else the tables that want a VACUUM, which cannot run in here.
CREATE FUNCTION pgtemplate.reset() RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    written oid[] := pgtemplate.dirty();
    bloated text[];
BEGIN
    IF pgtemplate.schema_changed(written) THEN
        RETURN NULL;
    END IF;
    bloated := pgtemplate.restore(written);
    PERFORM pgtemplate.forget();
    RETURN bloated;
END
$$;
