-- Event triggers that write a 0 to the log when the schema changes. Temporary objects do not count, and
-- neither do rules, triggers, policies and defaults on them. Those have no schema_name: the first part of
-- their address is the schema of the table. Of other objects, it is their name, such as a publication's.
CREATE FUNCTION pgtemplate.is_part_of_table(classid oid) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass,
                       'pg_policy'::regclass, 'pg_attrdef'::regclass)
$$;

CREATE FUNCTION pgtemplate.log_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('pgtemplate.session', true) = 'on' THEN
        RETURN;     -- a reset session
    END IF;
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                WHERE command_tag <> 'REINDEX'
                  AND lower(object_type) <> 'large object'  -- a reset restores them
                  AND coalesce(schema_name,
                               CASE WHEN pgtemplate.is_part_of_table(classid)
                                    THEN (pg_identify_object_as_address(classid, objid, 0)).object_names[1] END,
                               '') <> 'pg_temp') THEN
        INSERT INTO pgtemplate.log VALUES (0);
    END IF;
END
$$;

CREATE FUNCTION pgtemplate.log_drop() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_dropped_objects()
                WHERE NOT is_temporary
                  AND coalesce(schema_name,
                               CASE WHEN pgtemplate.is_part_of_table(classid)
                                    THEN address_names[1] END,
                               '') <> 'pg_temp') THEN
        INSERT INTO pgtemplate.log VALUES (0);
    END IF;
END
$$;

-- A statement with CONCURRENTLY commits in between. If it fails later, it leaves an invalid index or a
-- partition half detached, and ddl_command_end does not fire. DROP INDEX CONCURRENTLY is not logged,
-- because it refuses to run in a transaction that has written.
CREATE FUNCTION pgtemplate.log_concurrent_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tg_tag IN ('ALTER TABLE', 'CREATE INDEX', 'REINDEX') AND current_query() ~* '\mconcurrently\M' THEN
        INSERT INTO pgtemplate.log VALUES (0);
    END IF;
END
$$;

CREATE EVENT TRIGGER pgtemplate_ddl ON ddl_command_end EXECUTE FUNCTION pgtemplate.log_ddl();
CREATE EVENT TRIGGER pgtemplate_drop ON sql_drop EXECUTE FUNCTION pgtemplate.log_drop();
CREATE EVENT TRIGGER pgtemplate_start ON ddl_command_start
    EXECUTE FUNCTION pgtemplate.log_concurrent_ddl();
ALTER EVENT TRIGGER pgtemplate_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtemplate_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER pgtemplate_start ENABLE ALWAYS;

-- Event triggers do not fire for changes of event triggers. So the transactions (xmin) of their catalog rows
-- are compared, which a clone has in common with its template. If no transaction of the server has ended
-- since the last reset, nothing can have changed.
DO $do$
BEGIN
    EXECUTE format(
        'CREATE FUNCTION pgtemplate.schema_changed(written oid[]) RETURNS boolean LANGUAGE plpgsql AS %L',
        format($$
DECLARE
    snapshot CONSTANT text := pg_current_snapshot();
BEGIN
    IF 0 = ANY (written) THEN
        RETURN true;
    ELSIF snapshot = current_setting('pgtemplate.snapshot_of_triggers', true) THEN
        RETURN false;
    END IF;
    IF (SELECT sum(xmin::text::bigint) FROM pg_event_trigger) <> %s THEN
        RETURN true;
    END IF;
    PERFORM set_config('pgtemplate.snapshot_of_triggers', snapshot, false);
    RETURN false;
END
$$, (SELECT sum(xmin::text::bigint) FROM pg_event_trigger)));
END
$do$;
