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
