-- Adds everything written since the last reset to the state, as part of a layer. "changes": the number
-- of rows added and removed, or NULL if nothing was written. If not "wait", an open transaction that has
-- written raises lock_not_available.
CREATE FUNCTION pgtemplate.add_layer(new_layer int, wait boolean,
                                     OUT needs_reclone boolean, OUT changes bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written oid[];
    objects bigint;
BEGIN
    IF NOT wait THEN
        PERFORM set_config('lock_timeout', '20', true);
    END IF;
    written := pgtemplate.written_tables();
    needs_reclone := pgtemplate.schema_changed(written);
    IF needs_reclone THEN
        RETURN;
    END IF;
    IF written <> '{}' THEN
        changes := pgtemplate.add_rows_to_layer(new_layer, written);
        PERFORM pgtemplate.clear_log();
    END IF;
    IF pgtemplate.add_sequences_to_layer(new_layer) THEN
        changes := coalesce(changes, 0);
    END IF;
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        objects := pgtemplate.add_large_objects_to_layer(new_layer);
        IF objects > 0 THEN
            changes := coalesce(changes, 0) + objects;
        END IF;
    END IF;
END
$$;

CREATE FUNCTION pgtemplate.add_rows_to_layer(new_layer int, written oid[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    r       pgtemplate.relation;
    changed bigint;
    changes bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id = ANY (ARRAY(SELECT unnest(stored_in) FROM pgtemplate.relation
                                     WHERE id = ANY (written)))
                AND (rows > 0 OR pg_relation_size(id) > 0)
    LOOP
        IF r.disable_triggers IS NOT NULL THEN EXECUTE r.disable_triggers; END IF;
        changed := pgtemplate.add_rows_of_table_to_layer(
            new_layer, r, pgtemplate.counted_row_condition(r, written));
        IF r.enable_triggers IS NOT NULL THEN
            EXECUTE 'SET CONSTRAINTS ALL IMMEDIATE; ' || r.enable_triggers;
        END IF;
        IF changed > 0 THEN
            changes := coalesce(changes, 0) + changed;
        END IF;
    END LOOP;
    RETURN changes;
END
$$;

-- Returns appended_row_condition() if as many rows meet it as the log has inserted rows of the table, so that
-- no other row is new; otherwise NULL. The log cannot tell if a statement wrote to a parent of the table.
CREATE FUNCTION pgtemplate.counted_row_condition(r pgtemplate.relation, written oid[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    is_new  text := pgtemplate.appended_row_condition(r);
    matches boolean;
BEGIN
    IF is_new IS NULL
    OR EXISTS (SELECT FROM pgtemplate.relation parent
                WHERE parent.id = ANY (written) AND parent.id <> r.id AND r.id = ANY (parent.stored_in)) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT count(*) = (SELECT count FROM pgtemplate.inserted_counts() WHERE id = %s)
                      FROM ONLY %s WHERE %s', r.id, r.name, is_new) INTO matches;
    RETURN CASE WHEN matches THEN is_new END;
END
$$;

-- Adds the new rows of a table to a layer, and marks the rows of the state that are missing as replaced by it.
-- "is_new": a condition for the new rows, if one is known. Returns the number of both.
CREATE FUNCTION pgtemplate.add_rows_of_table_to_layer(new_layer int, r pgtemplate.relation, is_new text)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    kept     bigint := r.rows;
    replaced bigint;
    added    bigint;
    writers  xid[];
BEGIN
    IF is_new IS NULL THEN
        is_new := format('NOT (%s)', pgtemplate.state_row_condition(r));
        IF r.rows > 0 THEN
            EXECUTE format('SELECT count(*) FROM ONLY %s WHERE NOT (%s)', r.name, is_new) INTO kept;
        END IF;
    END IF;
    replaced := r.rows - kept;
    IF replaced > 0 THEN
        PERFORM pgtemplate.execute(format(
            'UPDATE pgtemplate.baseline b SET replaced_by = %s
              WHERE relation = %s AND replaced_by IS NULL AND %s',
            new_layer, r.id, pgtemplate.missing_row_condition(r)));
    END IF;
    added := pgtemplate.execute(format(
        'INSERT INTO pgtemplate.baseline (relation, position, row_text, layer, row_ctid)
         SELECT %1$s,
                coalesce((SELECT pg_catalog.max(position) FROM pgtemplate.baseline
                           WHERE relation = %1$s), 0) + pg_catalog.row_number() OVER (ORDER BY ctid),
                (t.*)::text, %2$s, ctid
           FROM ONLY %3$s AS t WHERE %4$s',
        r.id, new_layer, r.name, is_new));
    IF replaced + added > 0 THEN
        EXECUTE format('SELECT ARRAY(SELECT xmin FROM ONLY %s WHERE %s GROUP BY xmin)', r.name, is_new)
           INTO writers;
        INSERT INTO pgtemplate.layer_relation VALUES (new_layer, r.id, r.truncate_size, r.last_ctid)
            ON CONFLICT DO NOTHING;
        UPDATE pgtemplate.relation
           SET rows = kept + added,
               truncate_size = pg_relation_size(r.id) + :large,
               last_ctid = greatest(last_ctid, (SELECT row_ctid FROM pgtemplate.baseline
                                                 WHERE layer > 0 AND layer = new_layer AND relation = r.id
                                                 ORDER BY row_ctid DESC NULLS LAST LIMIT 1))
         WHERE id = r.id;
        PERFORM pgtemplate.add_all_rows_to_state(r.id, writers);
    END IF;
    RETURN replaced + added;
END
$$;

CREATE FUNCTION pgtemplate.add_sequences_to_layer(new_layer int) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    was   pgtemplate.sequence;
    moved boolean := false;
BEGIN
    FOR was IN SELECT * FROM pgtemplate.changed_sequences() LOOP
        INSERT INTO pgtemplate.layer_sequence
        SELECT coalesce(max(change_number), 0) + 1, new_layer, was.id, was.last_value, was.is_called
          FROM pgtemplate.layer_sequence;
        EXECUTE format('UPDATE pgtemplate.sequence
                           SET (last_value, is_called) = (SELECT last_value, is_called FROM %s)
                         WHERE id = %s', was.name, was.id);
        IF was.cached THEN
            PERFORM pgtemplate.restart_sequence(name, last_value), setval(id::regclass, last_value, is_called)
               FROM pgtemplate.sequence WHERE id = was.id;
        END IF;
        moved := true;
    END LOOP;
    RETURN moved;
END
$$;

CREATE FUNCTION pgtemplate.add_large_objects_to_layer(new_layer int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    replaced bigint;
    added    bigint;
BEGIN
    UPDATE pgtemplate.large_object
       SET replaced_by = new_layer
     WHERE replaced_by IS NULL
       AND NOT EXISTS (SELECT FROM pg_largeobject_metadata
                        WHERE oid = id
                          AND CASE WHEN (lomowner, lomacl, obj_description(oid, 'pg_largeobject'))
                                        IS DISTINCT FROM (owner, acl, comment) THEN false
                                   ELSE data IS NULL OR lo_get(oid) = data END);
    GET DIAGNOSTICS replaced = ROW_COUNT;
    INSERT INTO pgtemplate.large_object
    SELECT oid, lomowner, lomacl, obj_description(oid, 'pg_largeobject'), pgtemplate.read_large_object(m),
           new_layer
      FROM pg_largeobject_metadata m
     WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced_by IS NULL);
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN replaced + added;
END
$$;
