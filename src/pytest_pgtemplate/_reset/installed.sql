-- What the plugin has installed in the template, and the pid of this backend: behind a connection pooler,
-- the pid that the driver received may be that of another one. "unlogged_data": a crash of the server leaves
-- the files of unlogged tables empty.
SELECT to_regproc('pgtemplate.log_write') IS NOT NULL                       AS triggers,
       EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgtemplate_ddl') AS event_triggers,
       pg_backend_pid()                                                      AS pid,
       ARRAY(SELECT extname::text FROM pg_extension WHERE extversion LIKE '%-standin' ORDER BY extname)
                                                                             AS stand_ins,
       EXISTS (SELECT FROM pg_class WHERE relkind = 'r' AND relpersistence = 'u' AND pg_relation_size(oid) > 0)
                                                                             AS unlogged_data;
