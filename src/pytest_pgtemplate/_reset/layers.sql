-- Layers: the writes of a fixture become part of the state, and later leave it again together. A layer
-- has a number chosen by the caller (0: the template). Layers can be removed in any order.

CREATE UNLOGGED TABLE pgtemplate.layer_relation (
    layer    int    NOT NULL,
    relation oid    NOT NULL,
    large    bigint NOT NULL,       -- relation.large and .tail before the layer
    tail     tid    NOT NULL,
    PRIMARY KEY (layer, relation)
);

CREATE UNLOGGED TABLE pgtemplate.layer_sequence (
    moment     int     PRIMARY KEY,     -- they are counted
    layer      int     NOT NULL,
    id         oid     NOT NULL,
    last_value bigint  NOT NULL,    -- before the layer
    is_called  boolean NOT NULL
);

CREATE UNLOGGED TABLE pgtemplate.leaving (   -- rows of layers that a reset takes down
    relation oid NOT NULL,
    place    tid NOT NULL
);

CREATE INDEX ON pgtemplate.baseline (layer) WHERE layer > 0;
CREATE INDEX ON pgtemplate.baseline (replaced) WHERE replaced IS NOT NULL;

-- Adds everything written since the last reset to the state, as part of a layer. "changes": the number
-- of rows added and removed, or NULL if nothing was written. If not "patient", an open transaction that
-- has written raises lock_not_available.
CREATE FUNCTION pgtemplate.keep(up int, patient boolean, OUT stale boolean, OUT changes bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
    IF pgtemplate.keep_sequences(up) THEN
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
    is_new  text;       -- a condition for the rows that came
    counted boolean;    -- all that was done to it can be counted: nothing came through a parent
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
            counted := NOT EXISTS (SELECT FROM pgtemplate.relation parent
                                    WHERE parent.id = ANY (written) AND parent.id <> r.id
                                      AND r.id = ANY (parent.covers));
            EXECUTE format('SELECT %L WHERE %L AND (SELECT count(*) FROM ONLY %s WHERE %1$s)
                                                 = (SELECT count FROM pgtemplate.inserted() WHERE id = %4$s)',
                           is_new, counted, r.name, r.id) INTO is_new;
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
            PERFORM pgtemplate.execute(format(
                'UPDATE pgtemplate.baseline b SET replaced = %s
                  WHERE relation = %s AND replaced IS NULL AND %s',
                up, r.id, pgtemplate.is_missing(r)));
        END IF;
        new := pgtemplate.execute(format(
            'INSERT INTO pgtemplate.baseline (relation, position, body, layer, place)
             SELECT %1$s,
                    coalesce((SELECT pg_catalog.max(position) FROM pgtemplate.baseline
                               WHERE relation = %1$s), 0) + pg_catalog.row_number() OVER (ORDER BY ctid),
                    (t.*)::text, %2$s, ctid
               FROM ONLY %3$s AS t WHERE %4$s',
            r.id, up, r.name, is_new));
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

CREATE FUNCTION pgtemplate.keep_sequences(up int) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    was   pgtemplate.sequence;
    moved boolean := false;
BEGIN
    FOR was IN SELECT * FROM pgtemplate.moved_sequences() LOOP
        INSERT INTO pgtemplate.layer_sequence
        SELECT coalesce(max(moment), 0) + 1, up, was.id, was.last_value, was.is_called
          FROM pgtemplate.layer_sequence;
        EXECUTE format('UPDATE pgtemplate.sequence
                           SET (last_value, is_called) = (SELECT last_value, is_called FROM %s)
                         WHERE id = %s', was.name, was.id);
        IF was.cached THEN
            PERFORM pgtemplate.restart(name, last_value), setval(id::regclass, last_value, is_called)
               FROM pgtemplate.sequence WHERE id = was.id;
        END IF;
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
       AND NOT EXISTS (SELECT FROM pg_largeobject_metadata
                        WHERE oid = id AND lo_get(oid) = body
                          AND (lomowner, lomacl, obj_description(oid, 'pg_largeobject'))
                              IS NOT DISTINCT FROM (owner, acl, comment));
    GET DIAGNOSTICS gone = ROW_COUNT;
    INSERT INTO pgtemplate.large_object
    SELECT oid, lomowner, lomacl, obj_description(oid, 'pg_largeobject'), lo_get(oid), up
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
        theirs := format('SELECT place, body, pg_catalog.row_number() OVER (PARTITION BY body) AS copy
                            FROM pgtemplate.baseline
                           WHERE relation = %s AND layer > 0 AND layer = ANY (%L) AND replaced IS NULL',
                         r.id, going);
        here := format('SELECT ctid AS place, (t.*)::text COLLATE "C" AS body FROM ONLY %s AS t WHERE %s',
                       r.name, pgtemplate.is_old(r));
        EXECUTE format('SELECT count(*) FROM (%s) AS theirs', theirs) INTO wanted;
        found := pgtemplate.execute(format(
            'INSERT INTO pgtemplate.leaving
             SELECT %s, place FROM (%s) AS theirs JOIN (%s) AS here USING (place, body)',
            r.id, theirs, here));
        IF found < wanted THEN
            DELETE FROM pgtemplate.leaving WHERE relation = r.id;
            PERFORM pgtemplate.leave(r, theirs, here);
        END IF;
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
    END LOOP;
    UPDATE pgtemplate.relation SET leaving = true WHERE id = ANY (tables);
    PERFORM pgtemplate.forget_layers(going);
    RETURN tables;
END
$$;

-- The rows of ``theirs`` (body, copy) that are among those ``here`` (place, body) belong to the state no
-- more.
CREATE FUNCTION pgtemplate.leave(r pgtemplate.relation, theirs text, here text) RETURNS void
LANGUAGE sql AS $$
    SELECT pgtemplate.execute(format(
        'INSERT INTO pgtemplate.leaving
         SELECT %s, here.place
           FROM (SELECT *, pg_catalog.row_number() OVER (PARTITION BY body) AS copy
                   FROM (%s) AS each) AS here
           JOIN (%s) AS theirs USING (body, copy)', r.id, here, theirs))
$$;

CREATE FUNCTION pgtemplate.forget_layers(going int[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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

-- Two layers, the first one of those above, the second of those below, whose rows the first changed,
-- refers to or has put in the place of rows that the second took out: so the second cannot go while the
-- first stays. NULL when there are none; what has no key cannot be known.
CREATE FUNCTION pgtemplate.built_on(below int[], above int[]) RETURNS int[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    entangled int[] := (SELECT ARRAY[replaced, layer] FROM pgtemplate.baseline
                         WHERE layer > 0 AND layer = ANY (below)
                           AND replaced IS NOT NULL AND replaced = ANY (above)
                         UNION ALL
                        SELECT ARRAY[replaced, layer] FROM pgtemplate.large_object
                         WHERE layer = ANY (below) AND replaced = ANY (above)
                         LIMIT 1);
    query     text;
BEGIN
    FOR query IN SELECT * FROM pgtemplate.references_between(below, above)
                  UNION ALL
                 SELECT * FROM pgtemplate.collisions_between(below, above)
    LOOP
        EXIT WHEN entangled IS NOT NULL;
        entangled := pgtemplate.evaluate(query);
    END LOOP;
    RETURN entangled;
END
$$;

-- A query for the rows of a table that layers wrote or replaced.
CREATE FUNCTION pgtemplate.rows_of(id oid, condition text, which text, layers int[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('SELECT layer, replaced, body::%s AS r FROM pgtemplate.baseline
                    WHERE relation = %s AND %s AND %s = ANY (%L)',
                  id::regclass, id, condition, which, layers)
$$;

-- Queries for a row of a layer above that refers to one of a layer below, one for each foreign key. To
-- refer to a row that only comes back in another version is fine. The operators are those of the key: the
-- last one of a PERIOD is not "=".
CREATE FUNCTION pgtemplate.references_between(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), b AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, b.layer] FROM a JOIN b ON %s
                 WHERE NOT EXISTS (SELECT FROM c WHERE %s) LIMIT 1',
               pgtemplate.rows_of(conrelid, 'layer > 0 AND replaced IS NULL', 'layer', above),
               pgtemplate.rows_of(confrelid, 'layer > 0 AND replaced IS NULL', 'layer', below),
               pgtemplate.rows_of(confrelid, 'replaced IS NOT NULL', 'replaced', below),
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

-- Queries for a row of a layer above that stands where a layer below took one out, which comes back with
-- it; one for each unique index on plain columns, and for each exclusion constraint.
CREATE FUNCTION pgtemplate.collisions_between(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, c.replaced] FROM a JOIN c ON %s LIMIT 1',
               pgtemplate.rows_of(indrelid, 'layer > 0 AND replaced IS NULL', 'layer', above),
               pgtemplate.rows_of(indrelid, format('layer <> ALL (%L)', below), 'replaced', below),
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

-- All that tells a database with these layers from a new clone of its template.
CREATE FUNCTION pgtemplate.save_layers() RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT json_strip_nulls(json_build_object(
        'relations', (SELECT json_agg(l) FROM pgtemplate.layer_relation l),
        'rows', (SELECT json_agg(b) FROM pgtemplate.baseline b WHERE layer > 0 OR replaced IS NOT NULL),
        'moves', (SELECT json_agg(l) FROM pgtemplate.layer_sequence l),
        'sequences', (SELECT json_agg(s) FROM pgtemplate.sequence s
                       WHERE id IN (SELECT id FROM pgtemplate.layer_sequence)),
        'objects', (SELECT json_agg(o) FROM pgtemplate.large_object o)))
$$;

-- The same layers in a new clone. The template's rows stay as they are, but those that the layers have
-- replaced: a constraint that they violate may be younger than they are.
CREATE FUNCTION pgtemplate.load_layers(saved json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r pgtemplate.relation;
BEGIN
    INSERT INTO pgtemplate.layer_relation
    SELECT * FROM json_populate_recordset(NULL::pgtemplate.layer_relation, saved -> 'relations');

    UPDATE pgtemplate.baseline b SET replaced = s.replaced
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows') AS s
     WHERE s.layer = 0 AND b.relation = s.relation AND b.position = s.position;
    FOR r IN SELECT * FROM pgtemplate.relation
              WHERE id IN (SELECT relation FROM pgtemplate.baseline WHERE replaced IS NOT NULL)
    LOOP
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        PERFORM pgtemplate.leave(r,
            format('SELECT body, pg_catalog.row_number() OVER (PARTITION BY body) AS copy
                      FROM pgtemplate.baseline WHERE relation = %s AND replaced IS NOT NULL', r.id),
            format('SELECT ctid AS place, (t.*)::text COLLATE "C" AS body FROM ONLY %s AS t', r.name));
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
    END LOOP;
    INSERT INTO pgtemplate.baseline (relation, position, body, layer, replaced)
    SELECT relation, position, body, layer, replaced
      FROM json_populate_recordset(NULL::pgtemplate.baseline, saved -> 'rows')
     WHERE layer > 0;
    UPDATE pgtemplate.relation w
       SET rows = (SELECT count(*) FROM pgtemplate.baseline WHERE relation = w.id AND replaced IS NULL),
           leaving = true
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
    PERFORM pgtemplate.have_left();
END
$$;
