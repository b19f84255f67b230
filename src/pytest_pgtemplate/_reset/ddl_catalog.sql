-- Detects changes of the schema for roles that may not create event triggers, by the age of catalog
-- rows. Only DDL writes to most catalogs. So a row as old as the baseline counts +1, a row of a
-- temporary object 0, and any other row -1. The sum changes when a row is added, removed or replaced.
-- Subscriptions are in a shared catalog. A clone has none.
-- A reset itself (TRUNCATE, DISABLE TRIGGER) replaces rows in pg_class, pg_trigger and pg_rewrite: there,
-- a younger row with the same content counts +1, too. REFRESH MATERIALIZED VIEW counts as DDL.

CREATE UNLOGGED TABLE pgtemplate.catalog_row (
    catalog oid,
    id      oid,
    content jsonb NOT NULL,
    PRIMARY KEY (catalog, id)
);

-- The content of a catalog row, without the columns that a reset, VACUUM or ANALYZE may change.
CREATE FUNCTION pgtemplate.compared_columns(pg_class) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT to_jsonb($1) - '{relfilenode, relpages, reltuples, relallvisible, relallfrozen,
                            relfrozenxid, relminmxid, relhasindex, relhasrules, relhastriggers}'::text[]
        || jsonb_build_object('refreshed', CASE $1.relkind WHEN 'm' THEN $1.relfilenode END)
$$;
CREATE FUNCTION pgtemplate.compared_columns(pg_trigger) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT to_jsonb($1) $$;
CREATE FUNCTION pgtemplate.compared_columns(pg_rewrite) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT to_jsonb($1) $$;
CREATE FUNCTION pgtemplate.compared_columns(pg_sequence) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT to_jsonb($1)
        || jsonb_build_object('owned_by', (SELECT jsonb_agg(jsonb_build_array(refobjid, refobjsubid))
                                             FROM pg_depend
                                            WHERE classid = 'pg_class'::regclass AND objid = $1.seqrelid
                                              AND deptype IN ('a', 'i')))
$$;

-- Objects with an oid below 16384 are PostgreSQL's own.
INSERT INTO pgtemplate.catalog_row
SELECT tableoid, oid, pgtemplate.compared_columns(c) FROM pg_class c WHERE oid >= 16384
 UNION ALL
SELECT tableoid, oid, pgtemplate.compared_columns(t) FROM pg_trigger t WHERE oid >= 16384
 UNION ALL
SELECT tableoid, oid, pgtemplate.compared_columns(r) FROM pg_rewrite r WHERE oid >= 16384
 UNION ALL
SELECT tableoid, seqrelid, pgtemplate.compared_columns(s) FROM pg_sequence s;

-- The catalogs for which the sum needs to know more than their name: the column with the oid of the object that
-- a row describes (NULL: count every row), and a condition for rows of temporary objects.
CREATE FUNCTION pgtemplate.described_catalogs()
RETURNS TABLE (catalog name, key text, is_temporary text)
LANGUAGE plpgsql AS $$
DECLARE
    relations CONSTANT text := ' IN (SELECT oid FROM pg_class WHERE relpersistence = ''t'')';
    schemas   CONSTANT text := ' IN (SELECT oid FROM pg_namespace WHERE nspname ~ ''^pg_(toast_)?temp_'')';
    types     CONSTANT text := ' IN (SELECT oid FROM pg_type WHERE typnamespace' || schemas || ')';
BEGIN
    RETURN QUERY VALUES
        ('pg_attrdef'::name,        'adrelid',      'adrelid' || relations),
        ('pg_attribute',            'attrelid',     'attrelid' || relations),
        ('pg_class',                'oid',          'relnamespace' || schemas),
        ('pg_constraint',           'oid',          'connamespace' || schemas),
        -- a reset restores comments on large objects
        ('pg_description',          'CASE WHEN classoid <> ''pg_largeobject''::regclass THEN objoid END',
                                                    'objoid' || relations),
        ('pg_enum',                 'oid',          'enumtypid' || types),
        ('pg_extension',            NULL,           NULL),
        ('pg_index',                'indexrelid',   'indrelid' || relations),
        ('pg_inherits',             NULL,           'inhrelid' || relations),
        ('pg_language',             NULL,           NULL),
        ('pg_namespace',            NULL,           'oid' || schemas),
        ('pg_partitioned_table',    NULL,           'partrelid' || relations),
        ('pg_policy',               'oid',          'polrelid' || relations),
        ('pg_proc',                 'oid',          'pronamespace' || schemas),
        ('pg_range',                'rngtypid',     'rngtypid' || types),
        ('pg_rewrite',              'oid',          'ev_class' || relations),
        ('pg_sequence',             'seqrelid',     'seqrelid' || relations),
        ('pg_statistic_ext',        'oid',          'stxrelid' || relations),
        ('pg_trigger',              'oid',          'tgrelid' || relations),
        ('pg_ts_config_map',        'mapcfg',       NULL),
        ('pg_type',                 'oid',          'typnamespace' || schemas);
END
$$;

DO $do$
DECLARE
    sums text;
BEGIN
    SELECT string_agg(format(
               '(SELECT coalesce(sum(CASE WHEN age(xmin) >= since THEN 1 WHEN %s THEN 0 %s
                                          ELSE -1 END), 0) FROM %I.%I AS c %s)',
               coalesce(known.is_temporary, 'false'),
               CASE WHEN c.oid IN (SELECT catalog FROM pgtemplate.catalog_row) THEN
                    'WHEN EXISTS (SELECT FROM pgtemplate.catalog_row k
                                   WHERE k.catalog = c.tableoid AND k.content = pgtemplate.compared_columns(c)
                                     AND k.id = c.' || coalesce(has_oid.attname, known.key) || ') THEN 1' END,
               n.nspname, c.relname,
               'WHERE ' || CASE WHEN known.catalog IS NULL AND has_oid.attname IS NOT NULL THEN 'oid'
                                ELSE known.key END || ' >= 16384'
                        || CASE known.catalog WHEN 'pg_description' THEN    -- "public" is the user's
                               ' OR objoid = ' || coalesce(to_regnamespace('public')::oid, 0)
                           ELSE '' END), ', ')
      INTO sums
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_attribute has_oid
             ON has_oid.attrelid = c.oid AND has_oid.attname = 'oid' AND n.nspname = 'pg_catalog'
      LEFT JOIN pgtemplate.described_catalogs() AS known
             ON known.catalog = c.relname AND n.nspname = 'pg_catalog'
     WHERE has_schema_privilege(n.oid, 'USAGE')
       AND has_table_privilege(c.oid, 'SELECT')
       AND (c.relkind = 'm' AND c.relispopulated
            OR n.nspname = 'pg_catalog' AND c.relkind = 'r' AND NOT c.relisshared
               -- except catalogs with data, those that ANALYZE writes, and those implied by others
               AND c.relname NOT IN ('pg_largeobject', 'pg_largeobject_metadata', 'pg_statistic',
                                     'pg_statistic_ext_data', 'pg_depend', 'pg_init_privs'));
    EXECUTE format('CREATE FUNCTION pgtemplate.catalog_sums() RETURNS bigint[] LANGUAGE plpgsql AS %L',
                   format('#variable_conflict use_variable  -- a materialized view may have this column
                           DECLARE since CONSTANT int := age(%L::xid); BEGIN RETURN ARRAY[%s]; END',
                          pg_current_xact_id()::xid, sums));
END
$do$;

CREATE UNLOGGED TABLE pgtemplate.schema_baseline (
    catalogs bigint[] NOT NULL
);

CREATE FUNCTION pgtemplate.schema_changed(written oid[]) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    RETURN pgtemplate.catalog_sums() IS DISTINCT FROM (SELECT catalogs FROM pgtemplate.schema_baseline)
        OR EXISTS (SELECT FROM pg_subscription
                    WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()));
END
$$;
