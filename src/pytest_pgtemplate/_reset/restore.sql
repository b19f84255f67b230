-- Restores the rows of the tables that were written to. Returns the tables that need a VACUUM.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    dirty   oid[];          -- the tables to restore
    grown   oid[];          -- those for which TRUNCATE is worth its cost
    counts  text;
    missing oid[] := '{}';  -- those where rows of the state were updated or deleted
    emptied oid[] := '{}';  -- those to empty and fill again
    refill  text;
    rest    text;
    wake    text;
    steps   text;
    known   bigint;
    many    boolean;
BEGIN
    SELECT count(*), bool_or(rows > :many) INTO known, many
      FROM pgtemplate.relation WHERE id = ANY (written);
    IF known < cardinality(written) THEN
        RAISE 'a table was written to that the schema "pgtemplate" does not know any more';
    END IF;
    IF many THEN
        written := pgtemplate.delete_inserted(written);
    END IF;
    SELECT array_agg(id),
           array_agg(id) FILTER (WHERE size > large),
           string_agg(format('CASE WHEN (SELECT count(*) FROM ONLY %s WHERE %s) < %s THEN %s END',
                             name, pgtemplate.is_old(r), rows, id), ', ')
               FILTER (WHERE rows > 0)
      INTO dirty, grown, counts
      FROM pgtemplate.relation r, pg_relation_size(id) AS size
     WHERE id = ANY (ARRAY(SELECT unnest(covers) FROM pgtemplate.relation WHERE id = ANY (written)))
       AND (rows > 0 OR size > 0);  -- skips the many partitions that were never used

    IF grown IS NOT NULL THEN
        grown := ARRAY(SELECT id FROM pgtemplate.relation r
                        WHERE id = ANY (grown)
                          AND pgtemplate.truncated(pgtemplate.closure_without_rows(r)) IS NOT TRUE);
    END IF;
    IF counts IS NOT NULL THEN
        EXECUTE format('SELECT array_remove(ARRAY[%s]::oid[], NULL)', counts) INTO missing;
        emptied := ARRAY(SELECT pgtemplate.reach(missing));
    END IF;

    IF missing <> '{}' THEN
        SELECT pgtemplate.all_of(array_agg(pgtemplate.refill(r)))
          INTO refill
          FROM pgtemplate.relation r
         WHERE id = ANY (missing || emptied) AND rows > 0;
    END IF;
    SELECT string_agg(r.rest, '; '),
           pgtemplate.all_of(array_agg(pgtemplate.delete_new(r, id = ANY (emptied)))),
           -- no table may be altered while checks are pending
           'SET CONSTRAINTS ALL IMMEDIATE; ' || string_agg(r.wake, '; ')
      INTO rest, steps, wake
      FROM pgtemplate.relation r
     WHERE id = ANY (dirty || emptied);
    IF rest IS NOT NULL THEN EXECUTE rest; END IF;
    IF emptied <> '{}' THEN
        -- If a session reads one of them, the DELETE among the steps empties the tables.
        PERFORM pgtemplate.truncated(string_agg(name, ', '))
           FROM pgtemplate.relation WHERE id = ANY (emptied);
    END IF;
    IF steps <> '' THEN EXECUTE steps; END IF;
    PERFORM pgtemplate.check_orphans(dirty);
    IF refill <> '' THEN PERFORM pgtemplate.execute(refill); END IF;
    IF wake <> '' THEN EXECUTE wake; END IF;
    IF missing <> '{}' THEN
        PERFORM pgtemplate.all_is_old(id, ARRAY[pg_current_xact_id()::xid])
           FROM pgtemplate.relation WHERE id = ANY (missing || emptied);
        PERFORM pgtemplate.check_computed(missing || emptied);
    END IF;
    RETURN ARRAY(SELECT name FROM pgtemplate.relation WHERE id = ANY (grown));
END
$$;

-- Returns an SQL condition: does a row of this table belong to the state?
CREATE FUNCTION pgtemplate.is_old(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('(pg_catalog.age(xmin) > %s OR xmin = ANY (%L::xid[]))', age($1.since), $1.younger)
        || CASE WHEN $1.leaving THEN format(' AND ctid NOT IN (SELECT place FROM pgtemplate.leaving
                                                               WHERE relation = %s)', $1.id)
                ELSE '' END
$$;

-- A fast path for large tables: a test that only inserts adds its rows at the end. If as many new rows are
-- found behind "tail" as were inserted, the rest of the table needs no scan. Returns the other tables.
CREATE FUNCTION pgtemplate.delete_inserted(written oid[]) RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint;
BEGIN
    FOR r IN SELECT id, name, pgtemplate.is_inserted(relation) AS is_new, count
               FROM pgtemplate.relation JOIN pgtemplate.inserted() USING (id)
              WHERE id = ANY (written) AND pg_relation_size(id) <= large AND rest IS NULL
                AND current_setting('session_replication_role') = 'replica'
    LOOP
        CONTINUE WHEN r.is_new IS NULL;
        EXECUTE format('DELETE FROM ONLY %s WHERE %s', r.name, r.is_new);
        GET DIAGNOSTICS n = ROW_COUNT;
        IF n = r.count THEN
            written := array_remove(written, r.id);
        END IF;
    END LOOP;
    RETURN written;
END
$$;

-- Returns an SQL condition: is this row new, and behind "tail"? NULL for small tables, and for tables
-- with partitions or children.
CREATE FUNCTION pgtemplate.is_inserted(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('ctid >= ''(%s,0)'' AND NOT (%s)', ($1.tail::text::point)[0], pgtemplate.is_old($1))
     WHERE $1.rows > :many AND $1.covers = ARRAY[$1.id] AND NOT $1.leaving
$$;

-- Returns an SQL condition: is this row of the baseline (b) missing from the table? Without a primary key,
-- equal rows are counted.
CREATE FUNCTION pgtemplate.is_missing(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN $1.keyed THEN format(
        'NOT EXISTS (SELECT FROM ONLY %s AS t WHERE %s AND (t.*)::text COLLATE "C" = b.body)',
        $1.name, pgtemplate.is_old($1))
    ELSE format(
        'position IN (
             SELECT position
               FROM (SELECT position, body, pg_catalog.row_number() OVER (PARTITION BY body ORDER BY position)
                       FROM pgtemplate.baseline
                      WHERE relation = %s AND replaced IS NULL) AS wanted (position, body, copy)
              WHERE (body, copy) NOT IN (
                        SELECT body, pg_catalog.row_number() OVER (PARTITION BY body)
                          FROM (SELECT (t.*)::text COLLATE "C" FROM ONLY %s AS t WHERE %s) AS old (body)))',
        $1.id, $1.name, pgtemplate.is_old($1)) END
$$;

CREATE FUNCTION pgtemplate.delete_new(pgtemplate.relation, all_rows boolean) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'DELETE FROM ONLY ' || $1.name
        || CASE WHEN $1.rows = 0 OR all_rows THEN '' ELSE format(' WHERE NOT (%s)', pgtemplate.is_old($1)) END
$$;

CREATE FUNCTION pgtemplate.refill(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format(
        'INSERT INTO %1$s %2$s OVERRIDING SYSTEM VALUE
         SELECT %3$s
           FROM (SELECT body::%1$s AS r FROM pgtemplate.baseline b
                  WHERE relation = %4$s AND replaced IS NULL AND %5$s
                  ORDER BY position) AS missing',
        $1.name,
        '(' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')',
        string_agg('(r).' || quote_ident(attname), ', ' ORDER BY attnum),
        $1.id,
        pgtemplate.is_missing($1))
      FROM pg_attribute
     WHERE attrelid = $1.id AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
$$;

-- A stored generated column gets the value that its expression has today. That is another one if a
-- function was replaced since, or if the expression depends on a setting or the time zone.
CREATE FUNCTION pgtemplate.check_computed(restored oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r pgtemplate.relation;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (restored) AND computed LOOP
        IF pgtemplate.execute(format('SELECT FROM pgtemplate.baseline b
                                       WHERE relation = %s AND replaced IS NULL AND %s LIMIT 1',
                                     r.id, pgtemplate.is_missing(r))) > 0 THEN
            RAISE 'a generated column of % has another value when it is computed again', r.name;
        END IF;
    END LOOP;
END
$$;

-- What TRUNCATE has to name; NULL where rows of the state would go with it.
CREATE FUNCTION pgtemplate.closure_without_rows(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg('ONLY ' || name, ', ')
      FROM pgtemplate.relation
     WHERE id = ANY ($1.closure)
    HAVING bool_and(rows = 0)
$$;

-- Truncates tables, unless a session reads one of them: TRUNCATE would wait for it. TRUNCATE costs more
-- than deleting a few rows, but it frees their space.
CREATE FUNCTION pgtemplate.truncated(tables text) RETURNS boolean
LANGUAGE plpgsql STRICT AS $$
BEGIN
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', tables);
    EXECUTE 'TRUNCATE ' || tables;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

-- Makes all rows of a table part of the state. Rows older than every running transaction are covered by
-- "since". Rows of younger transactions ("writers") are covered by "younger".
CREATE FUNCTION pgtemplate.all_is_old(of_relation oid, writers xid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    horizon xid := pg_snapshot_xmin(pg_current_snapshot())::xid;
BEGIN
    UPDATE pgtemplate.relation
       SET since = CASE WHEN age(horizon) < age(since) THEN horizon ELSE since END,
           younger = ARRAY(SELECT x FROM unnest(younger || writers) AS x
                            WHERE age(x) <= least(age(since), age(horizon)))
     WHERE id = of_relation AND rows > 0;
END
$$;
