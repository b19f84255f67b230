-- What the template contains for resets, and the backend's pid (a pooler would report another one).
SELECT to_regnamespace('pgtemplate') IS NOT NULL                             AS triggers,
       EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgtemplate_ddl') AS event_triggers,
       pg_backend_pid()                                                      AS pid,
       ARRAY(SELECT extname::text FROM pg_extension WHERE extversion LIKE '%-standin' ORDER BY extname)
                                                                             AS stand_ins;
