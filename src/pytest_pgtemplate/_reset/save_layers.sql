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
