-- Names ($1) of which no session holds the lease, an advisory lock as in databases.sql.
SELECT name
  FROM unnest($1::text[]) AS name
 WHERE NOT EXISTS (
           SELECT FROM pg_locks l
            WHERE l.locktype = 'advisory'
              AND l.objsubid = 1
              AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(name, $2)
       );
