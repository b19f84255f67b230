-- One database ($1) or all (NULL), with its mark and whether another session holds its lease.
-- A lease is a session-level advisory lock on the hash of the name; pg_locks shows the locks of all
-- databases. The order prevents a race: a process takes the lease before it creates the database, and
-- this query reads pg_locks after pg_database. So a row without a lease has no living owner.
SELECT d.datname                                   AS name,
       d.datistemplate                             AS sealed,
       d.datconnlimit                              AS "limit",
       shobj_description(d.oid, 'pg_database')     AS comment,
       EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory'
              AND l.pid <> pg_backend_pid()
              AND l.objsubid = 1
              AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(d.datname, $2)
       )                                           AS leased,
       extract(epoch FROM clock_timestamp())::int8 AS now
  FROM pg_database d
 WHERE d.datname = coalesce($1, d.datname)
 ORDER BY d.datname;
