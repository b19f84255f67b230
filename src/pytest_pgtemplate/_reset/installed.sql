-- What the plugin has installed in the template, and the pid of this backend: behind a connection pooler,
-- the pid that the driver received may be that of another one. "uncovered": the user's tables and
-- sequences that this role may not read, so that no reset notices what others write to them.
SELECT to_regproc('pgtemplate.log_write') IS NOT NULL                       AS triggers,
       EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgtemplate_ddl') AS event_triggers,
       pg_backend_pid()                                                      AS pid,
       ARRAY(SELECT extname::text FROM pg_extension WHERE extversion LIKE '%-standin' ORDER BY extname)
                                                                             AS stand_ins,
       ARRAY(SELECT format('%I.%I', n.nspname, c.relname)
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                AND c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
                AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
                AND (NOT has_schema_privilege(n.oid, 'USAGE')
                     OR CASE c.relkind
                        WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT, USAGE')
                        ELSE NOT has_table_privilege(c.oid, 'SELECT')
                             OR row_security_active(c.oid) AND NOT has_table_privilege(c.oid, 'TRIGGER') END)
                AND NOT EXISTS (SELECT FROM pg_depend
                                 WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
              ORDER BY 1)                                                    AS uncovered;
