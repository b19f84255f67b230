-- Ends the idle sessions of a database ($1) that this role may end, and counts all its sessions except
-- one ($2). Autovacuum workers (without a role) do not count: they leave when a statement needs their
-- lock. pg_stat_get_activity() is the function behind pg_stat_activity, which takes longer to plan.
SELECT count(CASE WHEN state = 'idle' AND pg_has_role(usesysid, 'USAGE')
                  THEN pg_terminate_backend(pid) ELSE true END) AS sessions
  FROM pg_stat_get_activity(NULL) JOIN pg_database d ON d.oid = datid
 WHERE d.datname = $1
   AND usesysid IS NOT NULL
   AND pid <> $2;
