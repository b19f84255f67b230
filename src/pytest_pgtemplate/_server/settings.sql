-- The settings (ALTER DATABASE .. SET, ALTER ROLE .. IN DATABASE .. SET), the privileges (GRANT .. ON
-- DATABASE), the owner (empty: this role) and the size of one database ($1). CREATE DATABASE .. TEMPLATE
-- copies none of them. All are sorted, so that two databases can be compared. The size costs one stat()
-- per file.
SELECT coalesce(
           (SELECT jsonb_agg(jsonb_build_array(split_part(setting, '=', 1),
                                               substr(setting, strpos(setting, '=') + 1))
                             ORDER BY setting COLLATE "C")
              FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
             WHERE s.setdatabase = d.oid AND s.setrole = 0), '[]') AS settings,
       coalesce(
           (SELECT jsonb_agg(jsonb_build_array(setrole::regrole::text, split_part(setting, '=', 1),
                                               substr(setting, strpos(setting, '=') + 1))
                             ORDER BY setrole, setting COLLATE "C")
              FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
             WHERE s.setdatabase = d.oid AND s.setrole <> 0), '[]') AS role_settings,
       coalesce(
           (SELECT jsonb_agg(format('GRANT %s ON DATABASE %%s TO %s', a.privilege_type,
                                    CASE a.grantee WHEN 0 THEN 'PUBLIC'
                                                   ELSE replace(a.grantee::regrole::text, '%', '%%') END)
                             || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
                             ORDER BY a.grantee, a.privilege_type)
              FROM aclexplode(d.datacl) a), '[]')                  AS grants,
       d.datacl IS NOT NULL                                        AS has_acl,
       CASE WHEN d.datdba <> (SELECT oid FROM pg_roles WHERE rolname = current_user)
            THEN d.datdba::regrole::text ELSE '' END               AS owner,
       pg_database_size(d.oid)                                     AS size
  FROM pg_database d
 WHERE d.datname = $1;
