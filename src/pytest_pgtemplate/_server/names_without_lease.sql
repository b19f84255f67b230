-- The names ($1) whose lease no session holds. A lease is an advisory lock: see databases.sql.
SELECT name
  FROM unnest($1::text[]) AS name
 WHERE NOT EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory'
              AND l.objsubid = 1
              AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(name, $2)
       );
