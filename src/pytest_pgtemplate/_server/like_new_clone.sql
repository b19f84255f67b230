-- Does a database ($1) equal a new clone of its template ($2) in everything that other databases can
-- see? pg_prepared_xact() and pg_get_replication_slots() are the functions behind the views
-- pg_prepared_xacts and pg_replication_slots, which take longer to plan.
SELECT d.datconnlimit = $3
   AND d.datdba = t.datdba
   AND d.dattablespace = t.dattablespace
   AND NOT EXISTS (SELECT FROM pg_prepared_xact() WHERE dbid = d.oid)
   AND NOT EXISTS (SELECT FROM pg_get_replication_slots() WHERE datoid = d.oid) AS like_new_clone
  FROM pg_database d, pg_database t
 WHERE d.datname = $1
   AND t.datname = $2;
