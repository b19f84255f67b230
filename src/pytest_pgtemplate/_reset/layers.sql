-- Layers: the writes of a fixture become part of the state, and later leave it again together. A layer
-- has a number chosen by the caller (0: the template). Layers can be removed in any order.

CREATE TABLE pgtemplate.layer_relation (
    layer    int    NOT NULL,
    relation oid    NOT NULL,
    large    bigint NOT NULL,       -- relation.large and .tail before the layer
    tail     tid    NOT NULL,
    PRIMARY KEY (layer, relation)
);

CREATE TABLE pgtemplate.layer_sequence (
    moment     bigint  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    layer      int     NOT NULL,
    id         oid     NOT NULL,
    last_value bigint  NOT NULL,    -- before the layer
    is_called  boolean NOT NULL
);

CREATE TABLE pgtemplate.leaving (   -- rows of layers that the current reset removes
    relation oid NOT NULL,
    place    tid NOT NULL
);

CREATE INDEX ON pgtemplate.baseline (layer) WHERE layer > 0;
CREATE INDEX ON pgtemplate.baseline (replaced) WHERE replaced IS NOT NULL;

-- Adds everything written since the last reset to the state, as part of a layer. "changes": the number
-- of rows added and removed, or NULL if nothing was written. If not "patient", an open transaction that
-- has written raises lock_not_available.
CREATE FUNCTION pgtemplate.keep(up int, patient boolean, OUT stale boolean, OUT changes bigint)
LANGUAGE plpgsql AS $$
DECLARE
    written oid[];
    objects bigint;
BEGIN
    IF NOT patient THEN
        PERFORM set_config('lock_timeout', '20', true);
    END IF;
    written := pgtemplate.written();
    stale := pgtemplate.schema_changed(written);
    IF stale THEN
        RETURN;
    END IF;
    IF written <> '{}' THEN
        changes := pgtemplate.keep_rows(up, written);
        PERFORM pgtemplate.forget();
    END IF;
    IF pgtemplate.keep_sequences(up, written) THEN
        changes := coalesce(changes, 0);
    END IF;
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        objects := pgtemplate.keep_large_objects(up);
        IF objects > 0 THEN
            changes := coalesce(changes, 0) + objects;
        END IF;
    END IF;
END
$$;

CREATE FUNCTION pgtemplate.keep_rows(up int, written oid[]) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    r       pgtemplate.relation;
    is_new  text;       -- a condition for the new rows
    old     bigint;
    gone    bigint;
    new     bigint;
    writers xid[];
    changes bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id = ANY (ARRAY(SELECT unnest(covers) FROM pgtemplate.relation
                                     WHERE id = ANY (written)))
                AND (rows > 0 OR pg_relation_size(id) > 0)
    LOOP
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        is_new := pgtemplate.is_inserted(r);
        IF is_new IS NOT NULL THEN
            EXECUTE format('SELECT %L WHERE (SELECT count(*) FROM ONLY %s WHERE %1$s)
                                          = (SELECT count FROM pgtemplate.inserted() WHERE id = %3$s)',
                           is_new, r.name, r.id) INTO is_new;
        END IF;
        old := r.rows;
        IF is_new IS NULL THEN
            is_new := format('NOT (%s)', pgtemplate.is_old(r));
            IF r.rows > 0 THEN
                EXECUTE format('SELECT count(*) FROM ONLY %s WHERE NOT (%s)', r.name, is_new) INTO old;
            END IF;
        END IF;
        gone := r.rows - old;
        IF gone > 0 THEN
            EXECUTE format('UPDATE pgtemplate.baseline b SET replaced = %s
                             WHERE relation = %s AND replaced IS NULL AND %s',
                           up, r.id, pgtemplate.is_missing(r));
        END IF;
        EXECUTE format(
            'INSERT INTO pgtemplate.baseline (relation, position, body, layer, place)
             SELECT %1$s,
                    coalesce((SELECT max(position) FROM pgtemplate.baseline WHERE relation = %1$s), 0)
                        + row_number() OVER (ORDER BY ctid),
                    (t.*)::text, %2$s, ctid
               FROM ONLY %3$s AS t WHERE %4$s',
            r.id, up, r.name, is_new);
        GET DIAGNOSTICS new = ROW_COUNT;
        IF r.wake IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ALL IMMEDIATE; ' || r.wake; END IF;
        CONTINUE WHEN gone + new = 0;

        EXECUTE format('SELECT ARRAY(SELECT xmin FROM ONLY %s WHERE %s GROUP BY xmin)', r.name, is_new)
           INTO writers;
        INSERT INTO pgtemplate.layer_relation VALUES (up, r.id, r.large, r.tail) ON CONFLICT DO NOTHING;
        UPDATE pgtemplate.relation
           SET rows = old + new,
               large = pg_relation_size(r.id) + :large,
               tail = greatest(tail, (SELECT place FROM pgtemplate.baseline
                                       WHERE layer > 0 AND layer = up AND relation = r.id
                                       ORDER BY place DESC NULLS LAST LIMIT 1))
         WHERE id = r.id;
        PERFORM pgtemplate.all_is_old(r.id, writers);
        changes := coalesce(changes, 0) + gone + new;
    END LOOP;
    RETURN changes;
END
$$;

CREATE FUNCTION pgtemplate.keep_sequences(up int, written oid[]) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    was   pgtemplate.sequence;
    moved boolean := false;
BEGIN
    FOR was IN SELECT * FROM pgtemplate.moved_sequences(written) LOOP
        INSERT INTO pgtemplate.layer_sequence (layer, id, last_value, is_called)
        VALUES (up, was.id, was.last_value, was.is_called);
        EXECUTE format('UPDATE pgtemplate.sequence
                           SET (last_value, is_called) = (SELECT last_value, is_called FROM %s)
                         WHERE id = %s', was.name, was.id);
        moved := true;
    END LOOP;
    RETURN moved;
END
$$;

CREATE FUNCTION pgtemplate.keep_large_objects(up int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
    new  bigint;
BEGIN
    UPDATE pgtemplate.large_object
       SET replaced = up
     WHERE replaced IS NULL
       AND NOT EXISTS (SELECT FROM pg_largeobject_metadata m
                        WHERE m.oid = id AND m.lomowner = owner AND m.lomacl IS NOT DISTINCT FROM acl
                          AND lo_get(id) = body
                          AND obj_description(id, 'pg_largeobject') IS NOT DISTINCT FROM comment);
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO pgtemplate.large_object
    SELECT oid, lomowner, lomacl, lo_get(oid), obj_description(oid, 'pg_largeobject'), up
      FROM pg_largeobject_metadata
     WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced IS NULL);
    GET DIAGNOSTICS new = ROW_COUNT;
    RETURN gone + new;
END
$$;

-- Removes layers from the state, to which the rows that they replaced belong again. Returns the tables
-- to restore. The rows of a layer are found by their ctid and content. If a reset has inserted some of
-- them again, at another ctid, they are found by content; among equal rows, any will do.
CREATE FUNCTION pgtemplate.take_down(going int[]) RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    tables oid[] := ARRAY(SELECT DISTINCT relation FROM pgtemplate.layer_relation
                           WHERE layer = ANY (going));
    r      pgtemplate.relation;
    theirs text;
    here   text;
    found  bigint;
    wanted bigint;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (tables) LOOP
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        theirs := format('SELECT place, body, row_number() OVER (PARTITION BY body) AS copy
                            FROM pgtemplate.baseline
                           WHERE relation = %s AND layer > 0 AND layer = ANY (%L) AND replaced IS NULL',
                         r.id, going);
        here := format('SELECT ctid AS place, (t.*)::text COLLATE "C" AS body FROM ONLY %s AS t WHERE %s',
                       r.name, pgtemplate.is_old(r));
        EXECUTE format('SELECT count(*) FROM (%s) AS theirs', theirs) INTO wanted;
        EXECUTE format('INSERT INTO pgtemplate.leaving
                        SELECT %s, place FROM (%s) AS theirs JOIN (%s) AS here USING (place, body)',
                       r.id, theirs, here);
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found < wanted THEN
            DELETE FROM pgtemplate.leaving WHERE relation = r.id;
            EXECUTE format('INSERT INTO pgtemplate.leaving
                            SELECT %s, here.place
                              FROM (SELECT *, row_number() OVER (PARTITION BY body) AS copy
                                      FROM (%s) AS each) AS here
                              JOIN (%s) AS theirs USING (body, copy)',
                           r.id, here, theirs);
        END IF;
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
    END LOOP;
    UPDATE pgtemplate.relation SET leaving = true WHERE id = ANY (tables);
    PERFORM pgtemplate.forget_layers(going);
    RETURN tables;
END
$$;

CREATE FUNCTION pgtemplate.forget_layers(going int[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    was pgtemplate.layer_sequence;
BEGIN
    UPDATE pgtemplate.relation r
       SET rows = rows + change.sum
      FROM (SELECT relation, sum(change)
              FROM (SELECT relation, -1 FROM pgtemplate.baseline
                     WHERE layer > 0 AND layer = ANY (going) AND replaced IS NULL
                     UNION ALL
                    SELECT relation, 1 FROM pgtemplate.baseline
                     WHERE replaced IS NOT NULL AND replaced = ANY (going) AND layer <> ALL (going)
                   ) AS each (relation, change)
             GROUP BY relation) AS change
     WHERE r.id = change.relation;
    DELETE FROM pgtemplate.baseline WHERE layer > 0 AND layer = ANY (going);
    UPDATE pgtemplate.baseline SET replaced = NULL
     WHERE replaced IS NOT NULL AND replaced = ANY (going);

    UPDATE pgtemplate.relation r
       SET large = before.large, tail = before.tail
      FROM (SELECT DISTINCT ON (relation) relation, large, tail FROM pgtemplate.layer_relation
             WHERE layer = ANY (going) ORDER BY relation, large) AS before
     WHERE r.id = before.relation;
    DELETE FROM pgtemplate.layer_relation WHERE layer = ANY (going);

    -- If a remaining layer moved the sequence later, that layer now begins where this one began.
    FOR was IN SELECT * FROM pgtemplate.layer_sequence WHERE layer = ANY (going) ORDER BY moment DESC
    LOOP
        UPDATE pgtemplate.layer_sequence
           SET last_value = was.last_value, is_called = was.is_called
         WHERE moment = (SELECT min(moment) FROM pgtemplate.layer_sequence
                          WHERE id = was.id AND moment > was.moment);
        IF NOT FOUND THEN
            UPDATE pgtemplate.sequence
               SET last_value = was.last_value, is_called = was.is_called
             WHERE id = was.id;
        END IF;
        DELETE FROM pgtemplate.layer_sequence WHERE moment = was.moment;
    END LOOP;

    DELETE FROM pgtemplate.large_object WHERE layer > 0 AND layer = ANY (going);
    UPDATE pgtemplate.large_object SET replaced = NULL WHERE replaced = ANY (going);
END
$$;

CREATE FUNCTION pgtemplate.have_left() RETURNS void
LANGUAGE sql AS $$
    UPDATE pgtemplate.relation SET leaving = false WHERE leaving;
    DELETE FROM pgtemplate.leaving;
$$;

-- Returns a layer of "above" and a layer of "below" whose rows the first one changed or refers to by a
-- foreign key; NULL if there are none. The second one cannot be removed while the first one remains.
CREATE FUNCTION pgtemplate.built_on(below int[], above int[]) RETURNS int[]
LANGUAGE plpgsql AS $$
DECLARE
    entangled int[] := (SELECT ARRAY[replaced, layer] FROM pgtemplate.baseline
                         WHERE layer > 0 AND layer = ANY (below)
                           AND replaced IS NOT NULL AND replaced = ANY (above)
                         UNION ALL
                        SELECT ARRAY[replaced, layer] FROM pgtemplate.large_object
                         WHERE layer = ANY (below) AND replaced = ANY (above)
                         LIMIT 1);
    key       record;
BEGIN
    FOR key IN SELECT c.conrelid AS id, c.conrelid::regclass AS name,
                      c.confrelid AS target_id, c.confrelid::regclass AS target,
                      string_agg(format('(a.r).%I = (b.r).%I', f.attname, t.attname), ' AND ') AS refers,
                      string_agg(format('(b.r).%1$I = (c.r).%1$I', t.attname), ' AND ') AS same
                 FROM pg_constraint c
                CROSS JOIN unnest(c.conkey, c.confkey) AS columns (from_, to_)
                 JOIN pg_attribute f ON f.attrelid = c.conrelid AND f.attnum = from_
                 JOIN pg_attribute t ON t.attrelid = c.confrelid AND t.attnum = to_
                WHERE c.contype = 'f'
                  AND c.conrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (above))
                  AND c.confrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (below))
                GROUP BY c.oid, c.conrelid, c.confrelid
    LOOP
        EXIT WHEN entangled IS NOT NULL;
        -- A reference to a row whose earlier version comes back is no dependency.
        EXECUTE format(
            'WITH a AS (SELECT layer, body::%1$s AS r FROM pgtemplate.baseline
                         WHERE relation = %2$s AND layer > 0 AND layer = ANY ($2) AND replaced IS NULL),
                  b AS (SELECT layer, body::%3$s AS r FROM pgtemplate.baseline
                         WHERE relation = %4$s AND layer > 0 AND layer = ANY ($1) AND replaced IS NULL),
                  c AS (SELECT body::%3$s AS r FROM pgtemplate.baseline
                         WHERE relation = %4$s AND replaced IS NOT NULL AND replaced = ANY ($1))
             SELECT ARRAY[a.layer, b.layer] FROM a JOIN b ON %5$s
              WHERE NOT EXISTS (SELECT FROM c WHERE %6$s) LIMIT 1',
            key.name, key.id, key.target, key.target_id, key.refers, key.same)
           INTO entangled USING below, above;
    END LOOP;
    RETURN entangled;
END
$$;

-- The difference between a database with layers and a new clone of its template, as JSON.
CREATE FUNCTION pgtemplate.save_layers() RETURNS text
LANGUAGE sql AS $$
    SELECT json_strip_nulls(json_build_object(
        'relations', (SELECT json_agg(l) FROM pgtemplate.layer_relation l),
        'rows', (SELECT json_agg(b) FROM pgtemplate.baseline b WHERE layer > 0 OR replaced IS NOT NULL),
        'moves', (SELECT json_agg(l ORDER BY moment) FROM pgtemplate.layer_sequence l),
        'sequences', (SELECT json_agg(s) FROM pgtemplate.sequence s
                       WHERE id IN (SELECT id FROM pgtemplate.layer_sequence)),
        'objects', (SELECT json_agg(o) FROM pgtemplate.large_object o)))
$$;

-- Applies saved layers to a new clone. In their tables no row counts as old, so a reset inserts all rows.
CREATE FUNCTION pgtemplate.load_layers(saved json) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pgtemplate.layer_relation
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.layer_relation, saved -> 'relations');

    UPDATE pgtemplate.baseline b SET replaced = r.replaced
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows') AS r
     WHERE r.layer = 0 AND b.relation = r.relation AND b.position = r.position;
    INSERT INTO pgtemplate.baseline (relation, position, body, layer, replaced)
    SELECT relation, position, body, layer, replaced
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows')
     WHERE layer > 0;
    UPDATE pgtemplate.relation r
       SET rows = (SELECT count(*) FROM pgtemplate.baseline WHERE relation = r.id AND replaced IS NULL),
           since = '0', younger = '{}'
     WHERE id IN (SELECT relation FROM pgtemplate.layer_relation);

    INSERT INTO pgtemplate.layer_sequence (layer, id, last_value, is_called)
    SELECT layer, id, last_value, is_called
      FROM json_populate_recordset(NULL::pgtemplate.layer_sequence, saved -> 'moves')
     ORDER BY moment;
    UPDATE pgtemplate.sequence s SET last_value = now.last_value, is_called = now.is_called
      FROM json_populate_recordset(NULL::pgtemplate.sequence, saved -> 'sequences') AS now
     WHERE s.id = now.id;

    DELETE FROM pgtemplate.large_object;
    INSERT INTO pgtemplate.large_object
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.large_object, saved -> 'objects');
    PERFORM pgtemplate.reset('{}', ARRAY(SELECT DISTINCT relation FROM pgtemplate.layer_relation));
END
$$;
