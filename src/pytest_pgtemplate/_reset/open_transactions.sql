-- The transactions of this database that are open at the end of a reset and have a transaction id, as JSON;
-- NULL if there are none. Looking for them takes 0.1 ms. A reset does not wait for them, because they have
-- written to no table. The next reset asks whether they have committed (late_commits.py). With track_activities
-- off, or for a session of another role, the server shows neither state nor start.
CREATE FUNCTION pgtemplate.open_transactions() RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    now    CONSTANT pg_snapshot := pg_current_snapshot();
    newest CONSTANT xid8 := pg_snapshot_xmax(now);
BEGIN
    RETURN (
        SELECT jsonb_object_agg(
                   newest::text::bigint + age(newest::xid) - age(xid),
                   jsonb_build_object(
                       'kind', coalesce(kind, 'unknown'), 'pid', pid, 'application', application,
                       'age', coalesce(extract(epoch FROM clock_timestamp() - since), 0), 'query', query))
          FROM (SELECT state, pid, application_name, xact_start, query, backend_xid
                  FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND usesysid IS NOT NULL     -- not autovacuum, which has no role
                 UNION ALL
                SELECT 'prepared transaction', NULL, NULL, prepared, gid, transaction
                  FROM pg_prepared_xacts
                 WHERE database = current_database()
               ) AS known (kind, pid, application, since, query, xid)
         WHERE xid IS NOT NULL);
END
$$;
