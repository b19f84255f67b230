-- Event triggers that write a 0 to the log when the schema changes. Temporary objects do not count, nor
-- do rules, triggers and policies on them, whose schema is NULL.
CREATE FUNCTION pgtemplate.note_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                WHERE schema_name IS DISTINCT FROM 'pg_temp'
                  AND coalesce(object_identity, '') NOT LIKE '% on pg\_temp.%'
                  AND command_tag <> 'REINDEX') THEN
        INSERT INTO pgtemplate.log VALUES (0);
    END IF;
END
$$;

CREATE FUNCTION pgtemplate.note_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects()
                WHERE NOT is_temporary
                  AND coalesce(object_identity, '') NOT LIKE '% on pg\_temp.%') THEN
        INSERT INTO pgtemplate.log VALUES (0);
    END IF;
END
$$;

CREATE FUNCTION pgtemplate.schema_changed(written oid[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$ SELECT 0 = ANY (written) $$;

CREATE EVENT TRIGGER pgtemplate_ddl ON ddl_command_end EXECUTE FUNCTION pgtemplate.note_ddl();
CREATE EVENT TRIGGER pgtemplate_drop ON sql_drop EXECUTE FUNCTION pgtemplate.note_drop();
ALTER EVENT TRIGGER pgtemplate_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtemplate_drop ENABLE ALWAYS;
