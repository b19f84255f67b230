-- Some helpers of users empty every table outside of pg_catalog and information_schema. These triggers
-- restore the plugin's own tables within the same statement. Then they log a write to every table, because
-- the statement may have emptied the log.
CREATE FUNCTION pgtemplate.undo_write() RETURNS trigger
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
    SELECT DISTINCT tgrelid FROM pg_trigger WHERE tgfoid = 'pgtemplate.log_write'::regproc;
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
            'CREATE TRIGGER undo_write_before BEFORE UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT
                WHEN (current_setting(''pgtemplate.session'', true) IS DISTINCT FROM ''on'')
                EXECUTE FUNCTION pgtemplate.undo_write();
             CREATE TRIGGER undo_write_after AFTER UPDATE OR DELETE OR TRUNCATE ON %1$s FOR EACH STATEMENT
                WHEN (current_setting(''pgtemplate.session'', true) IS DISTINCT FROM ''on'')
                EXECUTE FUNCTION pgtemplate.undo_write();
             ALTER TABLE %1$s ENABLE ALWAYS TRIGGER undo_write_before, ENABLE ALWAYS TRIGGER undo_write_after',
            name);
    END LOOP;
END
$$;
