-- What both ways to restore rows have in common.

-- The tables to look into after statements on those that were written to. Most partitions were never
-- used.
CREATE FUNCTION pgtemplate.dirty(written oid[]) RETURNS SETOF pgtemplate.relation
LANGUAGE sql STABLE AS $$
    SELECT * FROM pgtemplate.relation
     WHERE id IN (SELECT unnest(covers) FROM pgtemplate.relation WHERE id = ANY (written))
       AND (rows > 0 OR pg_relation_size(id) > 0)
$$;

-- A condition: is this row of that table one of the template's?
CREATE FUNCTION pgtemplate.is_old(pgtemplate.relation) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN $1.rows = 0 THEN 'false'
                ELSE format('(age(xmin) >= %s OR xmin = ANY (%L::xid[]))', age($1.since), $1.refilled)
           END
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
LANGUAGE sql AS $$
    UPDATE pgtemplate.relation
       SET since = CASE WHEN age(horizon) < age(since) THEN horizon ELSE since END,
           refilled = ARRAY(SELECT x FROM unnest(refilled) AS x
                             WHERE age(x) < least(age(since), age(horizon)))
                      || pg_current_xact_id()::xid
      FROM CAST(pg_snapshot_xmin(pg_current_snapshot()) AS xid) AS horizon
     WHERE id = ANY (relations) AND rows > 0
$$;
