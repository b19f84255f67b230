-- Put the rows of the tables written to back; which tables have grown and want a VACUUM now.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    dirty   oid[];          -- the tables to look into
    grown   oid[];          -- those of them that TRUNCATE would be good for
    counts  text;
    missing oid[] := '{}';  -- those where rows of the template were updated or deleted
    emptied oid[] := '{}';  -- those that have to be filled anew as a whole
    rest    text;
    steps   text;
BEGIN
    SELECT array_agg(id),
           array_agg(id) FILTER (WHERE size > large),
           string_agg(format('CASE WHEN (SELECT count(*) FROM ONLY %s WHERE %s) < %s THEN %s END',
                             name, pgtemplate.is_old(r), rows, id), ', ')
               FILTER (WHERE rows > 0)
      INTO dirty, grown, counts
      FROM pgtemplate.relation r, pg_relation_size(id) AS size
     WHERE id = ANY (ARRAY(SELECT unnest(covers) FROM pgtemplate.relation WHERE id = ANY (written)))
       AND (rows > 0 OR size > 0);  -- most partitions were never used

    IF grown IS NOT NULL THEN
        grown := ARRAY(SELECT id FROM pgtemplate.relation
                        WHERE id = ANY (grown) AND pgtemplate.truncated(truncate) IS NOT TRUE);
    END IF;
    IF counts IS NOT NULL THEN
        EXECUTE format('SELECT array_remove(ARRAY[%s]::oid[], NULL)', counts) INTO missing;
        emptied := ARRAY(SELECT pgtemplate.reach(missing));
    END IF;

    SELECT string_agg(r.rest, '; '),
           concat_ws('; ',
               pgtemplate.all_of(array_agg(pgtemplate.delete_new(r, id = ANY (emptied)))),
               pgtemplate.all_of(array_agg(refill) FILTER (WHERE refill IS NOT NULL
                                                             AND id = ANY (missing || emptied))),
               -- no table may be altered while checks are pending
               'SET CONSTRAINTS ALL IMMEDIATE; ' || string_agg(wake, '; '))
      INTO rest, steps
      FROM pgtemplate.relation r
     WHERE id = ANY (dirty || emptied);
    IF rest IS NOT NULL THEN EXECUTE rest; END IF;
    IF emptied <> '{}' THEN
        -- If somebody reads one of them, the DELETE among the steps has to do.
        PERFORM pgtemplate.truncated(string_agg(name, ', '))
           FROM pgtemplate.relation WHERE id = ANY (emptied);
    END IF;
    IF steps <> '' THEN EXECUTE steps; END IF;
    IF missing <> '{}' THEN
        PERFORM pgtemplate.remember_refill(missing || emptied);
    END IF;
    RETURN ARRAY(SELECT name FROM pgtemplate.relation WHERE id = ANY (grown));
END
$$;

-- A condition: is this row of that table one of the template's?
CREATE FUNCTION pgtemplate.is_old(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('(age(xmin) > %s OR xmin = ANY (%L::xid[]))', age($1.since), $1.refilled)
$$;

CREATE FUNCTION pgtemplate.delete_new(pgtemplate.relation, all_rows boolean) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'DELETE FROM ONLY ' || $1.name
        || CASE WHEN $1.rows = 0 OR all_rows THEN '' ELSE ' WHERE NOT ' || pgtemplate.is_old($1) END
$$;

-- TRUNCATE costs more than to delete a few rows, and gives the space back. It would wait for whoever
-- reads one of the tables: then the rows are deleted, one by one.
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

-- At the end of a reset every row there is belongs to the template. So what is older than every
-- transaction that still runs, is old from now on; what is younger and old all the same, is listed.
CREATE FUNCTION pgtemplate.remember_refill(relations oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    horizon xid := pg_snapshot_xmin(pg_current_snapshot())::xid;
BEGIN
    UPDATE pgtemplate.relation
       SET since = CASE WHEN age(horizon) < age(since) THEN horizon ELSE since END,
           refilled = ARRAY(SELECT x FROM unnest(refilled) AS x
                             WHERE age(x) <= least(age(since), age(horizon)))
                      || pg_current_xact_id()::xid
     WHERE id = ANY (relations) AND rows > 0;
END
$$;
