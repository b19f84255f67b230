-- What blocks the reset in backend $1: sessions, and prepared transactions (two-phase commit), which
-- have no session and appear in pg_blocking_pids() as 0.
SELECT coalesce(a.state, 'unknown')                                 AS kind,
       a.pid                                                        AS pid,
       a.application_name                                           AS application,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float AS age,
       a.query                                                      AS query
  FROM pg_catalog.unnest(pg_blocking_pids($1)) AS blocking (pid)
  JOIN pg_stat_activity a ON a.pid = blocking.pid
 WHERE a.usesysid IS NOT NULL    -- an autovacuum worker has no role, and ends by itself
   AND a.datname = current_database()   -- the plugin never ends sessions of other databases
 UNION ALL
SELECT 'prepared transaction',
       NULL,
       NULL,
       extract(epoch FROM clock_timestamp() - p.prepared)::float,
       p.gid
  FROM pg_prepared_xacts p
 WHERE p.database = current_database()
   AND 0 = ANY (pg_blocking_pids($1))
