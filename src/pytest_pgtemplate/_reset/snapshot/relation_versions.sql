-- The versions of the catalog rows of tables, views, sequences and their parts. Rows of a part count for the
-- larger object. Objects with an oid below 16384 are PostgreSQL's own.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_relation_versions()
RETURNS TABLE (class oid, object oid, xmin xid, cmin cid)
LANGUAGE sql STABLE AS $$
    SELECT tableoid, oid, xmin, cmin FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
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
$$;
