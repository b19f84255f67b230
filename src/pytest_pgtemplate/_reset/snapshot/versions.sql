-- A line for each object, which changes when its catalog rows are written: their transactions (xmin, as
-- the distance from transaction 3) and, if everything happens in one transaction, their commands (cmin).
-- Rows of a part count for the larger object. Objects with an oid below 16384 are PostgreSQL's own.
-- In addition, a line for each table that has rows, with catalog 0 and a digest of the rows.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_versions(one_transaction bool)
RETURNS text
LANGUAGE plpgsql
SET search_path = ''
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    lines  text;
    source oid;
    found  bigint;
    total  numeric;
BEGIN
    SELECT string_agg(concat_ws(' ', o.catalog, o.id, o.n, o.x, o.c), chr(10)) INTO lines FROM (
    SELECT r.catalog::bigint, r.id, count(*) AS n,
           sum(age(r.x)::bigint - age('3'::xid)) FILTER (WHERE age(r.x) < 2147483647) AS x,
           sum(CASE WHEN one_transaction THEN r.c::text::bigint END) AS c
      FROM (SELECT tableoid, oid, xmin, cmin FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
             UNION ALL
            SELECT 'pg_class'::regclass, attrelid, xmin, cmin FROM pg_attribute
             WHERE attrelid >= 16384 AND attnum > 0
             UNION ALL
            SELECT 'pg_class'::regclass, adrelid, xmin, cmin FROM pg_attrdef
             UNION ALL
            SELECT 'pg_class'::regclass, indexrelid, xmin, cmin FROM pg_index
             WHERE indexrelid >= 16384
             UNION ALL
            SELECT 'pg_class'::regclass, inhrelid, xmin, cmin FROM pg_inherits
             UNION ALL
            SELECT 'pg_class'::regclass, partrelid, xmin, cmin FROM pg_partitioned_table
             UNION ALL
            SELECT 'pg_class'::regclass, ftrelid, xmin, cmin FROM pg_foreign_table
             UNION ALL
            SELECT 'pg_class'::regclass, seqrelid, xmin, cmin FROM pg_sequence
             UNION ALL
            SELECT classid, objid, xmin, cmin FROM pg_depend  -- what a sequence is owned by
             WHERE classid = 'pg_class'::regclass AND objid >= 16384 AND refobjsubid > 0
             UNION ALL
            SELECT 'pg_class'::regclass, ev_class, xmin, cmin FROM pg_rewrite
             WHERE oid >= 16384 AND rulename = '_RETURN'
             UNION ALL
            SELECT tableoid, oid, xmin, cmin FROM pg_rewrite
             WHERE oid >= 16384 AND rulename <> '_RETURN'
             UNION ALL
            SELECT tableoid, oid, xmin, cmin FROM pg_constraint WHERE oid >= 16384
             UNION ALL
            SELECT tableoid, oid, xmin, cmin FROM pg_trigger WHERE NOT tgisinternal
             UNION ALL
            SELECT tableoid, oid, xmin, cmin FROM pg_policy
             UNION ALL
            SELECT tableoid, oid, xmin, cmin FROM pg_statistic_ext
             UNION ALL
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
           ) AS r (catalog, id, x, c)
     GROUP BY r.catalog, r.id) AS o;

    FOR source IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm')
           AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgtemplate')
           AND pg_relation_size(c.oid) > 0 AND has_table_privilege(c.oid, 'SELECT')
           AND has_schema_privilege(n.oid, 'USAGE')
    LOOP
        EXECUTE 'SELECT count(*), sum(hashtextextended((t.*)::text, 0)) FROM ONLY '
                || source::regclass || ' AS t' INTO found, total;
        CONTINUE WHEN found = 0;
        lines := concat_ws(' ', lines || chr(10) || '0', source, found, total);
    END LOOP;
    RETURN lines;
END
$$;
