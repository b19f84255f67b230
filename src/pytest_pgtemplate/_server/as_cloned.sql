-- Whether a database ($1) is what a new clone of its template ($2) is, as far as no reset inside of it
-- can tell: what lies outside of it, and how much space it takes.
SELECT d.datconnlimit = $3
   AND d.datdba = t.datdba
   AND d.dattablespace = t.dattablespace
   AND NOT EXISTS (SELECT FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole <> 0)
   AND NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = d.datname)
   AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE database = d.datname)
   AND pg_database_size(d.oid) <= pg_database_size(t.oid) + $4 AS same
  FROM pg_database d, pg_database t
 WHERE d.datname = $1
   AND t.datname = $2;
