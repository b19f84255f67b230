-- What both ways to restore rows have in common.

-- The tables to look into after statements on the tables that were written to.
CREATE FUNCTION pgtemplate.dirty(written oid[])
RETURNS TABLE (id oid, name text, size bigint, large bigint, rows bigint, is_old text,
               refill text, truncate text, rest text, wake text)
LANGUAGE sql STABLE AS $$
    SELECT r.id, r.name, pg_relation_size(r.id), r.large, r.rows,
           format('(age(xmin) >= %s OR xmin = ANY (%L::xid[]))', age(r.since), r.refilled),
           r.refill, r.truncate, r.rest, r.wake
      FROM pgtemplate.relation r
     WHERE r.id IN (SELECT unnest(covers) FROM pgtemplate.relation WHERE id = ANY (written))
       AND (r.rows > 0 OR pg_relation_size(r.id) > 0)   -- most partitions were never used
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
     WHERE id = ANY (relations)
$$;
