-- Restores the rows of the tables that were written to. Returns the tables that need a VACUUM.
CREATE FUNCTION pgtemplate.restore_rows(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    dirty   oid[];          -- the tables to restore
    grown   oid[];          -- those for which TRUNCATE is worth its cost
    counts  text;
    missing oid[] := '{}';  -- those where rows of the state were updated or deleted
    known   bigint;
    many    boolean;
BEGIN
    SELECT count(*), bool_or(rows > :many) INTO known, many
      FROM pgtemplate.relation WHERE id = ANY (written);
    IF known < cardinality(written) THEN
        RAISE 'a table was written to that the schema "pgtemplate" does not list';
    END IF;
    IF many THEN
        written := pgtemplate.delete_appended_rows(written);
    END IF;
    SELECT array_agg(id),
           array_agg(id) FILTER (WHERE size > truncate_size),
           string_agg(format('CASE WHEN (SELECT count(*) FROM ONLY %s WHERE %s) < %s THEN %s END',
                             name, pgtemplate.state_row_condition(r), rows, id), ', ')
               FILTER (WHERE rows > 0)
      INTO dirty, grown, counts
      FROM pgtemplate.relation r, pg_relation_size(id) AS size
     WHERE id = ANY (ARRAY(SELECT unnest(stored_in) FROM pgtemplate.relation WHERE id = ANY (written)))
       AND (rows > 0 OR size > 0);  -- skips the many partitions that were never used

    IF grown IS NOT NULL THEN
        grown := ARRAY(SELECT id FROM pgtemplate.relation r
                        WHERE id = ANY (grown)
                          AND pgtemplate.try_truncate(pgtemplate.tables_to_truncate(r)) IS NOT TRUE);
    END IF;
    IF counts IS NOT NULL THEN
        EXECUTE format('SELECT array_remove(ARRAY[%s]::oid[], NULL)', counts) INTO missing;
    END IF;
    PERFORM pgtemplate.delete_and_insert_rows(dirty, missing);
    RETURN CASE WHEN grown IS NOT NULL
                THEN ARRAY(SELECT name FROM pgtemplate.relation WHERE id = ANY (grown)) ELSE '{}' END;
END
$$;

-- Deletes the new rows of the tables "dirty", and inserts the rows of the state that are missing in the tables
-- "missing". All statements are built before the first one deletes a row.
CREATE FUNCTION pgtemplate.delete_and_insert_rows(dirty oid[], missing oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    emptied oid[] := '{}';  -- the tables to empty and fill again
    refill  text;
    disable text;
    enable  text;
    steps   text;
BEGIN
    IF missing <> '{}' THEN
        emptied := ARRAY(SELECT pgtemplate.tables_to_empty(missing));
        SELECT pgtemplate.combine_statements(array_agg(pgtemplate.insert_missing_rows(r)))
          INTO refill
          FROM pgtemplate.relation r
         WHERE id = ANY (missing || emptied) AND rows > 0;
    END IF;
    SELECT string_agg(r.disable_triggers, '; '),
           pgtemplate.combine_statements(array_agg(pgtemplate.delete_new_rows(r, id = ANY (emptied)))),
           -- no table may be altered while checks are pending
           'SET CONSTRAINTS ALL IMMEDIATE; ' || string_agg(r.enable_triggers, '; ')
      INTO disable, steps, enable
      FROM pgtemplate.relation r
     WHERE id = ANY (dirty || emptied);
    IF disable IS NOT NULL THEN EXECUTE disable; END IF;
    IF emptied <> '{}' THEN
        -- If a session reads one of them, the DELETE statements below empty the tables.
        PERFORM pgtemplate.try_truncate(string_agg(name, ', '))
           FROM pgtemplate.relation WHERE id = ANY (emptied);
    END IF;
    IF steps <> '' THEN EXECUTE steps; END IF;
    PERFORM pgtemplate.check_orphans(dirty);
    IF refill <> '' THEN PERFORM pgtemplate.execute(refill); END IF;
    IF enable <> '' THEN EXECUTE enable; END IF;
    IF missing <> '{}' THEN
        PERFORM pgtemplate.add_all_rows_to_state(id, ARRAY[pg_current_xact_id()::xid])
           FROM pgtemplate.relation WHERE id = ANY (missing || emptied);
        PERFORM pgtemplate.check_generated_columns(missing || emptied);
    END IF;
END
$$;

-- Returns an SQL condition: does this row of the table belong to the state?
CREATE FUNCTION pgtemplate.state_row_condition(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('(pg_catalog.age(xmin) > %s OR xmin = ANY (%L::xid[]))', age($1.boundary_xid), $1.younger_xids)
        || CASE WHEN $1.has_removed_rows
                THEN format(' AND ctid NOT IN (SELECT row_ctid FROM pgtemplate.removed_row WHERE relation = %s)',
                            $1.id)
                ELSE '' END
$$;

-- A fast path for large tables: a test that only inserts usually appends its rows. If as many new rows are
-- found behind "last_ctid" as were inserted, the rest of the table needs no scan. Returns the other tables.
CREATE FUNCTION pgtemplate.delete_appended_rows(written oid[]) RETURNS oid[]
LANGUAGE plpgsql AS $$
DECLARE
    r record;
    n bigint;
BEGIN
    FOR r IN SELECT id, name, pgtemplate.appended_row_condition(relation) AS is_new, count
               FROM pgtemplate.relation JOIN pgtemplate.inserted_counts() USING (id)
              WHERE id = ANY (written) AND pg_relation_size(id) <= truncate_size
                AND disable_triggers IS NULL
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

-- Returns an SQL condition: is this row new, and behind "last_ctid"? NULL for small tables, and for tables
-- with partitions or children.
CREATE FUNCTION pgtemplate.appended_row_condition(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('ctid >= ''(%s,0)'' AND NOT (%s)',
                  ($1.last_ctid::text::point)[0], pgtemplate.state_row_condition($1))
     WHERE $1.rows > :many AND $1.stored_in = ARRAY[$1.id] AND NOT $1.has_removed_rows
$$;

-- Returns an SQL condition: is this row of the baseline (b) missing from the table? Without a primary key,
-- equal rows are counted.
CREATE FUNCTION pgtemplate.missing_row_condition(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN $1.has_primary_key THEN format(
        'NOT EXISTS (SELECT FROM ONLY %s AS t WHERE %s AND (t.*)::text COLLATE "C" = b.row_text)',
        $1.name, pgtemplate.state_row_condition($1))
    ELSE format(
        'position IN (
             SELECT position
               FROM (SELECT position, row_text,
                            pg_catalog.row_number() OVER (PARTITION BY row_text ORDER BY position)
                       FROM pgtemplate.baseline
                      WHERE relation = %s AND replaced_by IS NULL) AS wanted (position, row_text, copy)
              WHERE (row_text, copy) NOT IN (
                        SELECT row_text, pg_catalog.row_number() OVER (PARTITION BY row_text)
                          FROM (SELECT (t.*)::text COLLATE "C" FROM ONLY %s AS t WHERE %s) AS old (row_text)))',
        $1.id, $1.name, pgtemplate.state_row_condition($1)) END
$$;

-- Returns a statement that deletes the new rows of a table, or all rows.
CREATE FUNCTION pgtemplate.delete_new_rows(pgtemplate.relation, all_rows boolean) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'DELETE FROM ONLY ' || $1.name
        || CASE WHEN $1.rows = 0 OR all_rows THEN ''
                ELSE format(' WHERE NOT (%s)', pgtemplate.state_row_condition($1)) END
$$;

-- Returns a statement that inserts the missing rows of a table from the baseline.
CREATE FUNCTION pgtemplate.insert_missing_rows(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format(
        'INSERT INTO %1$s %2$s OVERRIDING SYSTEM VALUE
         SELECT %3$s
           FROM (SELECT row_text::%1$s AS r FROM pgtemplate.baseline b
                  WHERE relation = %4$s AND replaced_by IS NULL AND %5$s
                  ORDER BY position) AS missing',
        $1.name,
        '(' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')',
        string_agg('(r).' || quote_ident(attname), ', ' ORDER BY attnum),
        $1.id,
        pgtemplate.missing_row_condition($1))
      FROM pg_attribute
     WHERE attrelid = $1.id AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
$$;

-- Raises an error if a restored row differs from the baseline in a stored generated column. PostgreSQL
-- computes the column again. Its value differs if a function was replaced, or if the expression depends on
-- a setting or the time zone.
CREATE FUNCTION pgtemplate.check_generated_columns(restored oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    r pgtemplate.relation;
BEGIN
    FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (restored) AND has_generated_columns LOOP
        r.has_removed_rows := false;  -- they are deleted, and after a TRUNCATE other rows have their ctids
        IF pgtemplate.execute(format('SELECT FROM pgtemplate.baseline b
                                       WHERE relation = %s AND replaced_by IS NULL AND %s LIMIT 1',
                                     r.id, pgtemplate.missing_row_condition(r))) > 0 THEN
            RAISE 'a generated column of % has another value when it is computed again', r.name;
        END IF;
    END LOOP;
END
$$;

-- Returns the tables that TRUNCATE must name; NULL if it would remove rows of the state.
CREATE FUNCTION pgtemplate.tables_to_truncate(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg('ONLY ' || name, ', ')
      FROM pgtemplate.relation
     WHERE id = ANY ($1.truncate_with)
    HAVING bool_and(rows = 0)
$$;

-- Truncates tables, and returns false if a session reads one of them: TRUNCATE would wait for it. TRUNCATE
-- costs more than deleting a few rows, but it frees their space.
CREATE FUNCTION pgtemplate.try_truncate(tables text) RETURNS boolean
LANGUAGE plpgsql STRICT AS $$
BEGIN
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', tables);
    EXECUTE 'TRUNCATE ' || tables;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END
$$;

-- Makes all rows of a table part of the state. "boundary_xid" covers rows older than every running
-- transaction, and "younger_xids" covers rows of younger transactions ("writers").
CREATE FUNCTION pgtemplate.add_all_rows_to_state(of_relation oid, writers xid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    horizon xid := pg_snapshot_xmin(pg_current_snapshot())::xid;
BEGIN
    UPDATE pgtemplate.relation
       SET boundary_xid = CASE WHEN age(horizon) < age(boundary_xid) THEN horizon ELSE boundary_xid END,
           younger_xids = ARRAY(SELECT x FROM unnest(younger_xids || writers) AS x
                                 WHERE age(x) <= least(age(boundary_xid), age(horizon)))
     WHERE id = of_relation AND rows > 0;
END
$$;
