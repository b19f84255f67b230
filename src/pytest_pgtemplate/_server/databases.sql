-- Databases that may be ours, by name ($1) or all (NULL): their mark, and whether another session
-- holds their lease. A lease is a session's advisory lock on the hash of the name; pg_locks
-- shows those of every database. It is read after pg_database, and a lease is taken before its
-- database is created: a database that is seen here without a lease has no owner any more.
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
       )                                           AS leased
  FROM pg_database d
 WHERE d.datname = coalesce($1, d.datname)
 ORDER BY d.datname;
