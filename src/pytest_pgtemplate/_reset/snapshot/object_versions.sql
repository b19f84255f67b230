-- The versions of the catalog rows of all other objects.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_object_versions()
RETURNS TABLE (class oid, object oid, xmin xid, cmin cid)
LANGUAGE sql STABLE AS $$
    SELECT tableoid, oid, xmin, cmin FROM pg_type
     WHERE oid >= 16384 AND typrelid = 0 AND typcategory <> 'A'
     UNION ALL
    SELECT 'pg_type'::regclass, enumtypid, xmin, cmin FROM pg_enum
     UNION ALL
    SELECT 'pg_type'::regclass, rngtypid, xmin, cmin FROM pg_range WHERE rngtypid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_proc WHERE oid >= 16384
     UNION ALL
    SELECT 'pg_proc'::regclass, aggfnoid, xmin, cmin FROM pg_aggregate
     WHERE aggfnoid::oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_namespace WHERE nspname !~ '^pg_'
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_extension
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_collation WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_conversion WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_cast WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_operator WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_opclass WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_opfamily WHERE oid >= 16384
     UNION ALL
    SELECT 'pg_opfamily'::regclass, amopfamily, xmin, cmin FROM pg_amop
     WHERE oid >= 16384
     UNION ALL
    SELECT 'pg_opfamily'::regclass, amprocfamily, xmin, cmin FROM pg_amproc
     WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_ts_config WHERE oid >= 16384
     UNION ALL
    SELECT 'pg_ts_config'::regclass, mapcfg, xmin, cmin FROM pg_ts_config_map
     WHERE mapcfg >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_ts_dict WHERE oid >= 16384
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_foreign_data_wrapper
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_foreign_server
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_event_trigger
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_publication
     UNION ALL
    SELECT 'pg_publication'::regclass, prpubid, xmin, cmin FROM pg_publication_rel
     UNION ALL
    SELECT tableoid, oid, xmin, cmin FROM pg_default_acl
     UNION ALL
    SELECT tableoid, objoid, xmin, cmin FROM pg_description WHERE objoid >= 16384
$$;
