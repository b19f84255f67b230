-- Some helpers of the user's empty every table outside of pg_catalog and information_schema. What is ours
-- is put back within the same statement, and the log then says that any table may have been written to.
CREATE FUNCTION pgtemplate.guard() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    copy CONSTANT text := quote_ident('pgtemplate_' || TG_TABLE_NAME);
BEGIN
    IF TG_WHEN = 'BEFORE' THEN
        EXECUTE format('CREATE TEMP TABLE %s ON COMMIT DROP AS TABLE %s', copy, TG_RELID::regclass);
        RETURN NULL;
    END IF;
    PERFORM set_config('pgtemplate.session', 'on', true);
    EXECUTE format('DELETE FROM %s; INSERT INTO %1$s TABLE pg_temp.%s; DROP TABLE pg_temp.%2$s',
                   TG_RELID::regclass, copy);
    INSERT INTO pgtemplate.log
    SELECT DISTINCT tgrelid FROM pg_trigger WHERE tgfoid = 'pgtemplate.note_write'::regproc;
    PERFORM set_config('pgtemplate.session', '', true);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT c.oid::regclass FROM pg_class c
                 WHERE relkind = 'r' AND relnamespace = 'pgtemplate'::regnamespace
    LOOP
        EXECUTE format(
            'CREATE TRIGGER guard_before BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
                WHEN (current_setting(''pgtemplate.session'', true) IS DISTINCT FROM ''on'')
                EXECUTE FUNCTION pgtemplate.guard();
             CREATE TRIGGER guard_after AFTER UPDATE OR DELETE OR TRUNCATE ON %1$s FOR EACH STATEMENT
                WHEN (current_setting(''pgtemplate.session'', true) IS DISTINCT FROM ''on'')
                EXECUTE FUNCTION pgtemplate.guard();
             ALTER TABLE %1$s ENABLE ALWAYS TRIGGER guard_before, ENABLE ALWAYS TRIGGER guard_after',
            name);
    END LOOP;
END
$$;
