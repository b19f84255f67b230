-- Layers: the writes of a fixture become part of the state, and are later removed from it together. The
-- caller chooses the number of a layer (0: the template). Layers can be removed in any order.

CREATE UNLOGGED TABLE pgtemplate.layer_relation (
    layer         int    NOT NULL,
    relation      oid    NOT NULL,
    truncate_size bigint NOT NULL,      -- values of pgtemplate.relation before the layer
    last_ctid     tid    NOT NULL,
    PRIMARY KEY (layer, relation)
);

CREATE UNLOGGED TABLE pgtemplate.layer_sequence (
    change_number int     PRIMARY KEY,  -- in the order of the changes
    layer         int     NOT NULL,
    id            oid     NOT NULL,
    last_value    bigint  NOT NULL,     -- before the layer
    is_called     boolean NOT NULL
);

CREATE UNLOGGED TABLE pgtemplate.removed_row (   -- rows of layers that the current reset removes
    relation oid NOT NULL,
    row_ctid tid NOT NULL
);

CREATE INDEX ON pgtemplate.baseline (layer) WHERE layer > 0;
CREATE INDEX ON pgtemplate.baseline (replaced_by) WHERE replaced_by IS NOT NULL;

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
    is_new  text;       -- a condition for new rows
    counted boolean;    -- the log has its inserted rows: no statement wrote to a parent of it
    old     bigint;
    gone    bigint;
    new     bigint;
    writers xid[];
    changes bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id = ANY (ARRAY(SELECT unnest(stored_in) FROM pgtemplate.relation
                                     WHERE id = ANY (written)))
                AND (rows > 0 OR pg_relation_size(id) > 0)
    LOOP
        IF r.disable_triggers IS NOT NULL THEN EXECUTE r.disable_triggers; END IF;
        is_new := pgtemplate.appended_row_condition(r);
        IF is_new IS NOT NULL THEN
            counted := NOT EXISTS (SELECT FROM pgtemplate.relation parent
                                    WHERE parent.id = ANY (written) AND parent.id <> r.id
                                      AND r.id = ANY (parent.stored_in));
            EXECUTE format('SELECT %L WHERE %L AND (SELECT count(*) FROM ONLY %s WHERE %1$s)
                                                 = (SELECT count FROM pgtemplate.inserted_counts()
                                                     WHERE id = %4$s)',
                           is_new, counted, r.name, r.id) INTO is_new;
        END IF;
        old := r.rows;
        IF is_new IS NULL THEN
            is_new := format('NOT (%s)', pgtemplate.state_row_condition(r));
            IF r.rows > 0 THEN
                EXECUTE format('SELECT count(*) FROM ONLY %s WHERE NOT (%s)', r.name, is_new) INTO old;
            END IF;
        END IF;
        gone := r.rows - old;
        IF gone > 0 THEN
            PERFORM pgtemplate.execute(format(
                'UPDATE pgtemplate.baseline b SET replaced_by = %s
                  WHERE relation = %s AND replaced_by IS NULL AND %s',
                new_layer, r.id, pgtemplate.missing_row_condition(r)));
        END IF;
        new := pgtemplate.execute(format(
            'INSERT INTO pgtemplate.baseline (relation, position, row_text, layer, row_ctid)
             SELECT %1$s,
                    coalesce((SELECT pg_catalog.max(position) FROM pgtemplate.baseline
                               WHERE relation = %1$s), 0) + pg_catalog.row_number() OVER (ORDER BY ctid),
                    (t.*)::text, %2$s, ctid
               FROM ONLY %3$s AS t WHERE %4$s',
            r.id, new_layer, r.name, is_new));
        IF r.enable_triggers IS NOT NULL THEN
            EXECUTE 'SET CONSTRAINTS ALL IMMEDIATE; ' || r.enable_triggers;
        END IF;
        CONTINUE WHEN gone + new = 0;

        EXECUTE format('SELECT ARRAY(SELECT xmin FROM ONLY %s WHERE %s GROUP BY xmin)', r.name, is_new)
           INTO writers;
        INSERT INTO pgtemplate.layer_relation VALUES (new_layer, r.id, r.truncate_size, r.last_ctid)
            ON CONFLICT DO NOTHING;
        UPDATE pgtemplate.relation
           SET rows = old + new,
               truncate_size = pg_relation_size(r.id) + :large,
               last_ctid = greatest(last_ctid, (SELECT row_ctid FROM pgtemplate.baseline
                                                 WHERE layer > 0 AND layer = new_layer AND relation = r.id
                                                 ORDER BY row_ctid DESC NULLS LAST LIMIT 1))
         WHERE id = r.id;
        PERFORM pgtemplate.add_all_rows_to_state(r.id, writers);
        changes := coalesce(changes, 0) + gone + new;
    END LOOP;
    RETURN changes;
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
    gone bigint;
    new  bigint;
BEGIN
    UPDATE pgtemplate.large_object
       SET replaced_by = new_layer
     WHERE replaced_by IS NULL
       AND NOT EXISTS (SELECT FROM pg_largeobject_metadata
                        WHERE oid = id
                          AND CASE WHEN (lomowner, lomacl, obj_description(oid, 'pg_largeobject'))
                                        IS DISTINCT FROM (owner, acl, comment) THEN false
                                   ELSE data IS NULL OR lo_get(oid) = data END);
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO pgtemplate.large_object
    SELECT oid, lomowner, lomacl, obj_description(oid, 'pg_largeobject'), pgtemplate.read_large_object(m),
           new_layer
      FROM pg_largeobject_metadata m
     WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced_by IS NULL);
    GET DIAGNOSTICS new = ROW_COUNT;
    RETURN gone + new;
END
$$;

-- Removes layers from the state, and adds the rows that they replaced to it again. Returns the tables to
-- restore. The rows of a layer are found by their ctid and content. If a reset has inserted some of them
-- again, at another ctid, they are found by content. Equal rows are interchangeable.
CREATE FUNCTION pgtemplate.remove_layers(removed int[]) RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    tables       oid[] := ARRAY(SELECT DISTINCT relation FROM pgtemplate.layer_relation
                                 WHERE layer = ANY (removed));
    r            pgtemplate.relation;
    layer_rows   text;
    current_rows text;
    found        bigint;
    wanted       bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (tables) LOOP
        IF r.disable_triggers IS NOT NULL THEN EXECUTE r.disable_triggers; END IF;
        layer_rows := format(
            'SELECT row_ctid, row_text, pg_catalog.row_number() OVER (PARTITION BY row_text) AS copy
               FROM pgtemplate.baseline
              WHERE relation = %s AND layer > 0 AND layer = ANY (%L) AND replaced_by IS NULL',
            r.id, removed);
        current_rows := format(
            'SELECT ctid AS row_ctid, (t.*)::text COLLATE "C" AS row_text FROM ONLY %s AS t WHERE %s',
            r.name, pgtemplate.state_row_condition(r));
        EXECUTE format('SELECT count(*) FROM (%s) AS layer_rows', layer_rows) INTO wanted;
        found := pgtemplate.execute(format(
            'INSERT INTO pgtemplate.removed_row
             SELECT %s, row_ctid
               FROM (%s) AS layer_rows JOIN (%s) AS current_rows USING (row_ctid, row_text)',
            r.id, layer_rows, current_rows));
        IF found < wanted THEN
            DELETE FROM pgtemplate.removed_row WHERE relation = r.id;
            PERFORM pgtemplate.mark_removed_rows(r, layer_rows, current_rows);
        END IF;
        IF r.enable_triggers IS NOT NULL THEN EXECUTE r.enable_triggers; END IF;
    END LOOP;
    UPDATE pgtemplate.relation SET has_removed_rows = true WHERE id = ANY (tables);
    PERFORM pgtemplate.remove_layer_records(removed);
    RETURN tables;
END
$$;

-- Removes rows from the state: those of the query "current_rows" (row_ctid, row_text) that are also in the
-- query "layer_rows" (row_text, copy).
CREATE FUNCTION pgtemplate.mark_removed_rows(r pgtemplate.relation, layer_rows text, current_rows text)
RETURNS void
LANGUAGE sql AS $$
    SELECT pgtemplate.execute(format(
        'INSERT INTO pgtemplate.removed_row
         SELECT %s, current_rows.row_ctid
           FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY row_text) AS copy
                   FROM (%s) AS each) AS current_rows
           JOIN (%s) AS layer_rows USING (row_text, copy)', r.id, current_rows, layer_rows))
$$;

-- Removes layers from the tables of this schema only.
CREATE FUNCTION pgtemplate.remove_layer_records(removed int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    was pgtemplate.layer_sequence;
BEGIN
    UPDATE pgtemplate.relation r
       SET rows = rows + change.sum
      FROM (SELECT relation, sum(change)
              FROM (SELECT relation, -1 FROM pgtemplate.baseline
                     WHERE layer > 0 AND layer = ANY (removed) AND replaced_by IS NULL
                     UNION ALL
                    SELECT relation, 1 FROM pgtemplate.baseline
                     WHERE replaced_by IS NOT NULL AND replaced_by = ANY (removed) AND layer <> ALL (removed)
                   ) AS each (relation, change)
             GROUP BY relation) AS change
     WHERE r.id = change.relation;
    DELETE FROM pgtemplate.baseline WHERE layer > 0 AND layer = ANY (removed);
    UPDATE pgtemplate.baseline SET replaced_by = NULL
     WHERE replaced_by IS NOT NULL AND replaced_by = ANY (removed);

    UPDATE pgtemplate.relation r
       SET truncate_size = before.truncate_size, last_ctid = before.last_ctid
      FROM (SELECT DISTINCT ON (relation) relation, truncate_size, last_ctid
              FROM pgtemplate.layer_relation
             WHERE layer = ANY (removed) ORDER BY relation, truncate_size) AS before
     WHERE r.id = before.relation;
    DELETE FROM pgtemplate.layer_relation WHERE layer = ANY (removed);

    -- If a remaining layer changed the sequence later, its value before that layer is now the value before
    -- this one.
    FOR was IN SELECT * FROM pgtemplate.layer_sequence
                WHERE layer = ANY (removed) ORDER BY change_number DESC
    LOOP
        UPDATE pgtemplate.layer_sequence
           SET last_value = was.last_value, is_called = was.is_called
         WHERE change_number = (SELECT min(change_number) FROM pgtemplate.layer_sequence
                          WHERE id = was.id AND change_number > was.change_number);
        IF NOT FOUND THEN
            UPDATE pgtemplate.sequence
               SET last_value = was.last_value, is_called = was.is_called
             WHERE id = was.id;
        END IF;
        DELETE FROM pgtemplate.layer_sequence WHERE change_number = was.change_number;
    END LOOP;

    DELETE FROM pgtemplate.large_object WHERE layer > 0 AND layer = ANY (removed);
    UPDATE pgtemplate.large_object SET replaced_by = NULL WHERE replaced_by = ANY (removed);
END
$$;

-- Called after the rows of removed layers have been deleted.
CREATE FUNCTION pgtemplate.finish_layer_removal() RETURNS void
LANGUAGE sql AS $$
    UPDATE pgtemplate.relation SET has_removed_rows = false WHERE has_removed_rows;
    DELETE FROM pgtemplate.removed_row;
$$;

-- Returns a pair of layers, or NULL: one of "above" that depends on one of "below", so that the second cannot
-- be removed before the first. The first has changed a row of the second, refers to one by a foreign key, or
-- has a row with the unique key of a row that the second deleted. Other dependencies cannot be detected.
CREATE FUNCTION pgtemplate.find_dependency(below int[], above int[]) RETURNS int[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dependency int[] := (SELECT ARRAY[replaced_by, layer] FROM pgtemplate.baseline
                         WHERE layer > 0 AND layer = ANY (below)
                           AND replaced_by IS NOT NULL AND replaced_by = ANY (above)
                         UNION ALL
                        SELECT ARRAY[replaced_by, layer] FROM pgtemplate.large_object
                         WHERE layer = ANY (below) AND replaced_by = ANY (above)
                         LIMIT 1);
    query     text;
BEGIN
    FOR query IN SELECT * FROM pgtemplate.reference_queries(below, above)
                  UNION ALL
                 SELECT * FROM pgtemplate.conflict_queries(below, above)
    LOOP
        EXIT WHEN dependency IS NOT NULL;
        dependency := pgtemplate.evaluate(query);
    END LOOP;
    RETURN dependency;
END
$$;

-- Returns a query for the rows of a table that layers wrote or replaced. "which": the column with the layer.
CREATE FUNCTION pgtemplate.layer_rows_query(id oid, condition text, which text, layers int[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('SELECT layer, replaced_by, row_text::%s AS r FROM pgtemplate.baseline
                    WHERE relation = %s AND %s AND %s = ANY (%L)',
                  id::regclass, id, condition, which, layers)
$$;

-- Returns a query for each foreign key, which finds a row of a layer above that refers to a row of a layer
-- below. It ignores rows below that replaced a row with the same key, which a reset restores. The operators
-- are those of the foreign key: for a PERIOD, the last one is not "=".
CREATE FUNCTION pgtemplate.reference_queries(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), b AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, b.layer] FROM a JOIN b ON %s
                 WHERE NOT EXISTS (SELECT FROM c WHERE %s) LIMIT 1',
               pgtemplate.layer_rows_query(conrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', above),
               pgtemplate.layer_rows_query(confrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', below),
               pgtemplate.layer_rows_query(confrelid, 'replaced_by IS NOT NULL', 'replaced_by', below),
               string_agg(format('(b.r).%I %s OPERATOR(%I.%s) (a.r).%I', t.attname,
                                 'COLLATE ' || c_of_target.name, o.nspname, pf.oprname, f.attname), ' AND '),
               string_agg(format('(b.r).%1$I OPERATOR(%2$I.%3$s) (c.r).%1$I', t.attname,
                                 p.nspname, pp.oprname), ' AND '))
      FROM pg_constraint c
     CROSS JOIN unnest(conkey, confkey, conpfeqop, conppeqop) AS columns (from_, to_, pfeqop, ppeqop)
      JOIN pg_attribute f ON f.attrelid = conrelid AND f.attnum = from_
      JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = to_
      JOIN pg_operator pf ON pf.oid = pfeqop JOIN pg_namespace o ON o.oid = pf.oprnamespace
      JOIN pg_operator pp ON pp.oid = ppeqop JOIN pg_namespace p ON p.oid = pp.oprnamespace
      LEFT JOIN LATERAL (SELECT format('%I.%I', nspname, collname)
                           FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
                          WHERE l.oid = t.attcollation) AS c_of_target (name) ON true
     WHERE contype = 'f'
       AND conrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (above))
       AND confrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (below))
     GROUP BY c.oid, conrelid, confrelid
$$;

-- Returns a query for each unique index on plain columns and for each exclusion constraint. It finds a row of
-- a layer above that conflicts with a row that a layer below replaced: a reset would insert that row again.
CREATE FUNCTION pgtemplate.conflict_queries(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, c.replaced_by] FROM a JOIN c ON %s LIMIT 1',
               pgtemplate.layer_rows_query(indrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', above),
               pgtemplate.layer_rows_query(indrelid, format('layer <> ALL (%L)', below), 'replaced_by', below),
               string_agg(format('(a.r).%1$I OPERATOR(%2$I.%3$s) (c.r).%1$I',
                                 attname, nspname, oprname), ' AND '))
      FROM pg_index
     CROSS JOIN unnest(indkey, indclass) WITH ORDINALITY AS key (attnum, class, n)
      JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = key.attnum
      JOIN pg_opclass ON pg_opclass.oid = class
      LEFT JOIN pg_constraint c ON conindid = indexrelid AND conexclop IS NOT NULL
      LEFT JOIN pg_amop equal ON amopfamily = opcfamily AND amopstrategy = 3
                             AND amoplefttype = opcintype AND amoprighttype = opcintype
      JOIN pg_operator o ON o.oid = coalesce(conexclop[n], amopopr)
      JOIN pg_namespace s ON s.oid = oprnamespace
     WHERE (indisunique OR indisexclusion) AND n <= indnkeyatts AND indexprs IS NULL AND indpred IS NULL
       AND indrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (above))
       AND indrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (below))
     GROUP BY indexrelid, indrelid
$$;

-- Returns the layers as JSON: everything that distinguishes this database from a new clone of its template.
CREATE FUNCTION pgtemplate.save_layers() RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT json_strip_nulls(json_build_object(
        'relations', (SELECT json_agg(l) FROM pgtemplate.layer_relation l),
        'rows', (SELECT json_agg(b) FROM pgtemplate.baseline b WHERE layer > 0 OR replaced_by IS NOT NULL),
        'moves', (SELECT json_agg(l) FROM pgtemplate.layer_sequence l),
        'sequences', (SELECT json_agg(s) FROM pgtemplate.sequence s
                       WHERE id IN (SELECT id FROM pgtemplate.layer_sequence)),
        'objects', (SELECT json_agg(o) FROM pgtemplate.large_object o)))
$$;

-- Adds the layers that save_layers() returned to a new clone. Only rows of the template that the layers
-- replaced are deleted. The others are not inserted again: they may violate a constraint that is younger.
CREATE FUNCTION pgtemplate.load_layers(saved json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r pgtemplate.relation;
BEGIN
    INSERT INTO pgtemplate.layer_relation
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.layer_relation, saved -> 'relations');

    UPDATE pgtemplate.baseline b SET replaced_by = s.replaced_by
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows') AS s
     WHERE s.layer = 0 AND b.relation = s.relation AND b.position = s.position;
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id IN (SELECT relation FROM pgtemplate.baseline WHERE replaced_by IS NOT NULL)
    LOOP
        IF r.disable_triggers IS NOT NULL THEN EXECUTE r.disable_triggers; END IF;
        PERFORM pgtemplate.mark_removed_rows(r,
            format('SELECT row_text, pg_catalog.row_number() OVER (PARTITION BY row_text) AS copy
                      FROM pgtemplate.baseline WHERE relation = %s AND replaced_by IS NOT NULL', r.id),
            format('SELECT ctid AS row_ctid, (t.*)::text COLLATE "C" AS row_text FROM ONLY %s AS t', r.name));
        IF r.enable_triggers IS NOT NULL THEN EXECUTE r.enable_triggers; END IF;
    END LOOP;
    INSERT INTO pgtemplate.baseline (relation, position, row_text, layer, replaced_by)
    SELECT relation, position, row_text, layer, replaced_by
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows')
     WHERE layer > 0;
    UPDATE pgtemplate.relation w
       SET rows = (SELECT count(*) FROM pgtemplate.baseline WHERE relation = w.id AND replaced_by IS NULL),
           has_removed_rows = true
     WHERE id IN (SELECT relation FROM pgtemplate.layer_relation);

    INSERT INTO pgtemplate.layer_sequence
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.layer_sequence, saved -> 'moves');
    UPDATE pgtemplate.sequence s SET last_value = now.last_value, is_called = now.is_called
      FROM json_populate_recordset(NULL::pgtemplate.sequence, saved -> 'sequences') AS now
     WHERE s.id = now.id;

    DELETE FROM pgtemplate.large_object;
    INSERT INTO pgtemplate.large_object
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.large_object, saved -> 'objects');
    PERFORM pgtemplate.reset('{}', ARRAY(SELECT DISTINCT relation FROM pgtemplate.layer_relation));
    PERFORM pgtemplate.finish_layer_removal();
END
$$;
