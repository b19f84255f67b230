-- How many sessions a database ($1) has beside one ($2), after those that are idle were ended, as far as
-- this role may. An autovacuum worker, which is nobody's, gives way. The function is below the view
-- pg_stat_activity, which takes longer to plan.
SELECT count(CASE WHEN state = 'idle' AND pg_has_role(usesysid, 'USAGE')
                  THEN pg_terminate_backend(pid) ELSE true END) AS others
  FROM pg_stat_get_activity(NULL) JOIN pg_database d ON d.oid = datid
 WHERE d.datname = $1
   AND usesysid IS NOT NULL
   AND pid <> $2;
