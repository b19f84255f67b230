-- What of ours the template has brought along; and who we are, as a pooler would tell it wrong.
SELECT to_regproc('pgtemplate.note_write') IS NOT NULL                       AS triggers,
       EXISTS (SELECT FROM pg_event_trigger WHERE evtname = 'pgtemplate_ddl') AS event_triggers,
       pg_backend_pid()                                                      AS pid,
       ARRAY(SELECT extname::text FROM pg_extension WHERE extversion LIKE '%-standin' ORDER BY extname)
                                                                             AS stand_ins;
