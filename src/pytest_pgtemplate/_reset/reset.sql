-- Resets the database: one call per test, with the tables that were written to, and the layers to remove.
-- "grown": NULL if the schema was changed, so that a new clone is necessary; otherwise the tables that need
-- a VACUUM, which cannot run inside a function. "unlocked": large objects were restored. No lock waits for
-- their writers, so that they may be the write of a transaction that was open before.
CREATE FUNCTION pgtemplate.reset(
    removed int[], written oid[], OUT grown text[], OUT unlocked boolean, OUT still_open jsonb)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now pg_snapshot;
BEGIN
    IF pgtemplate.schema_changed(written) THEN
        RETURN;
    END IF;
    grown := '{}';
    IF removed <> '{}' THEN
        written := ARRAY(SELECT unnest(written) UNION SELECT unnest(pgtemplate.remove_layers(removed)));
    END IF;
    IF written <> '{}' THEN
        grown := pgtemplate.restore_rows(written);
        PERFORM pgtemplate.clear_log();
    END IF;
    IF removed <> '{}' THEN
        PERFORM pgtemplate.finish_layer_removal();
    END IF;
    PERFORM CASE WHEN cached THEN pgtemplate.restart_sequence(name, last_value) END,
            setval(id::regclass, last_value, is_called)
       FROM pgtemplate.changed_sequences();
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        unlocked := pgtemplate.restore_large_objects();
    END IF;
    now := pg_current_snapshot();
    -- Ids from xmax on are in no snapshot: age() is above 0 if there are any but that of this reset.
    IF pg_snapshot_xmin(now) <> pg_snapshot_xmax(now) OR age(pg_snapshot_xmax(now)::xid) > 0 THEN
        still_open := pgtemplate.open_transactions();
    END IF;
END
$$;
