-- The definitions of foreign-data wrappers and servers, event triggers, publications and default privileges.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_objects_outside_schemas(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT w.tableoid, w.oid, 0, 0, NULL::oid, concat_ws(' ',
               nullif(w.fdwhandler, 0)::regproc, nullif(w.fdwvalidator, 0)::regproc,
               w.fdwoptions::text, 'OWNER ' || pg_get_userbyid(w.fdwowner),
               pg_temp.pgtemplate_privileges(w.fdwacl, 'F', w.fdwowner))
      FROM pg_foreign_data_wrapper w
     WHERE w.oid = ANY (wanted)
     UNION ALL
    SELECT s.tableoid, s.oid, 0, 0, NULL, concat_ws(' ',
               pg_describe_object('pg_foreign_data_wrapper'::regclass, s.srvfdw, 0),
               s.srvtype, s.srvversion, s.srvoptions::text,
               'OWNER ' || pg_get_userbyid(s.srvowner),
               pg_temp.pgtemplate_privileges(s.srvacl, 'S', s.srvowner))
      FROM pg_foreign_server s
     WHERE s.oid = ANY (wanted)
     UNION ALL
    SELECT e.tableoid, e.oid, 0, 0, NULL, concat_ws(' ',
               e.evtevent, e.evttags::text, e.evtfoid::regproc, e.evtenabled,
               'OWNER ' || pg_get_userbyid(e.evtowner))
      FROM pg_event_trigger e JOIN pg_proc p ON p.oid = e.evtfoid
     WHERE e.oid = ANY (wanted)
       AND p.pronamespace IS DISTINCT FROM to_regnamespace('pgtemplate')
     UNION ALL
    SELECT p.tableoid, p.oid, 0, 0, NULL, concat_ws(' ',
               CASE WHEN p.puballtables THEN 'ALL TABLES' END,
               (SELECT string_agg(r.prrelid::regclass::text, ', '
                                  ORDER BY r.prrelid::regclass::text)
                  FROM pg_publication_rel r WHERE r.prpubid = p.oid),
               p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot,
               'OWNER ' || pg_get_userbyid(p.pubowner))
      FROM pg_publication p
     WHERE p.oid = ANY (wanted)
     UNION ALL
    SELECT a.tableoid, a.oid, 0, 0, NULL, a.defaclacl::text
      FROM pg_default_acl a
     WHERE a.oid = ANY (wanted)
$$;
