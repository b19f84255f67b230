-- The definitions of schemas, extensions, collations and text search objects.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_other_schema_objects(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT n.tableoid, n.oid, 0, 0, n.oid, concat_ws(' ',
               'OWNER ' || pg_get_userbyid(n.nspowner),
               pg_temp.pgtemplate_privileges(n.nspacl, 'n', n.nspowner))
      FROM pg_namespace n
     WHERE n.oid = ANY (wanted)
     UNION ALL
    SELECT e.tableoid, e.oid, 0, 0, e.extnamespace, concat_ws(' ',
               'SCHEMA', e.extnamespace::regnamespace, 'VERSION', e.extversion)
      FROM pg_extension e
     WHERE e.oid = ANY (wanted)
     UNION ALL
    SELECT o.tableoid, o.oid, 0, 0, o.collnamespace, concat_ws(' ',
               o.collprovider, o.collcollate, o.collctype, o.collisdeterministic,
               to_jsonb(o) ->> 'colllocale', to_jsonb(o) ->> 'colliculocale',
               'OWNER ' || pg_get_userbyid(o.collowner))
      FROM pg_collation o
     WHERE o.oid = ANY (wanted)
     UNION ALL
    SELECT c.tableoid, c.oid, 0, 0, c.cfgnamespace, concat_ws(' ',
               pg_describe_object('pg_ts_parser'::regclass, c.cfgparser, 0),
               (SELECT string_agg(concat_ws(' ', m.maptokentype, m.mapdict::regdictionary), ', '
                                  ORDER BY m.maptokentype, m.mapseqno)
                  FROM pg_ts_config_map m WHERE m.mapcfg = c.oid),
               'OWNER ' || pg_get_userbyid(c.cfgowner))
      FROM pg_ts_config c
     WHERE c.oid = ANY (wanted)
     UNION ALL
    SELECT d.tableoid, d.oid, 0, 0, d.dictnamespace, concat_ws(' ',
               pg_describe_object('pg_ts_template'::regclass, d.dicttemplate, 0),
               d.dictinitoption, 'OWNER ' || pg_get_userbyid(d.dictowner))
      FROM pg_ts_dict d
     WHERE d.oid = ANY (wanted)
$$;
