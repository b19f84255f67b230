-- A change of the schema, for a role that may not create event triggers: look into the catalogs.
-- Most of their rows are only ever written by DDL. So count: +1 for a row as old as the baseline, 0
-- for one of a temporary object, -1 for any other. The sum stays what it was until a row goes, comes
-- or is replaced. A reset itself (TRUNCATE, DISABLE TRIGGER) replaces rows in some catalogs: there a
-- newer row counts +1, too, if it says the same. A materialized view is refreshed by DDL only.

CREATE TABLE pgtemplate.catalog_row (
    catalog oid,
    id      oid,
    body    jsonb NOT NULL,
    PRIMARY KEY (catalog, id)
);

CREATE FUNCTION pgtemplate.said(pg_class) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT to_jsonb($1) - '{relfilenode, relpages, reltuples, relallvisible, relallfrozen,
                            relfrozenxid, relminmxid, relhasindex, relhasrules, relhastriggers}'::text[]
        || jsonb_build_object('refreshed', CASE $1.relkind WHEN 'm' THEN $1.relfilenode END)
$$;
CREATE FUNCTION pgtemplate.said(pg_trigger) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT to_jsonb($1) $$;
CREATE FUNCTION pgtemplate.said(pg_rewrite) RETURNS jsonb
LANGUAGE sql STABLE AS $$ SELECT to_jsonb($1) $$;

INSERT INTO pgtemplate.catalog_row
SELECT tableoid, oid, pgtemplate.said(c) FROM pg_class c WHERE oid >= 16384
 UNION ALL
SELECT tableoid, oid, pgtemplate.said(t) FROM pg_trigger t
 UNION ALL
SELECT tableoid, oid, pgtemplate.said(r) FROM pg_rewrite r WHERE oid >= 16384;

DO $do$
DECLARE
    relations CONSTANT text := '(SELECT oid FROM pg_class WHERE relpersistence = ''t'')';
    schemas   CONSTANT text := '(SELECT oid FROM pg_namespace WHERE nspname ~ ''^pg_(toast_)?temp_'')';
    types     CONSTANT text := '(SELECT oid FROM pg_type WHERE typnamespace IN ' || schemas || ')';
    sums      text;
BEGIN
    WITH temporary (catalog, condition) AS (VALUES
        ('pg_attrdef', 'adrelid IN ' || relations),
        ('pg_attribute', 'attrelid IN ' || relations),
        ('pg_class', 'relnamespace IN ' || schemas),
        ('pg_constraint', 'connamespace IN ' || schemas),
        ('pg_description', 'objoid IN ' || relations),
        ('pg_enum', 'enumtypid IN ' || types),
        ('pg_index', 'indrelid IN ' || relations),
        ('pg_inherits', 'inhrelid IN ' || relations),
        ('pg_namespace', 'oid IN ' || schemas),
        ('pg_partitioned_table', 'partrelid IN ' || relations),
        ('pg_policy', 'polrelid IN ' || relations),
        ('pg_proc', 'pronamespace IN ' || schemas),
        ('pg_range', 'rngtypid IN ' || types),
        ('pg_rewrite', 'ev_class IN ' || relations),
        ('pg_sequence', 'seqrelid IN ' || relations),
        ('pg_statistic_ext', 'stxrelid IN ' || relations),
        ('pg_trigger', 'tgrelid IN ' || relations),
        ('pg_type', 'typnamespace IN ' || schemas)
    )
    SELECT string_agg(format(
               '(SELECT coalesce(sum(CASE WHEN age(xmin) >= age(%L::xid) THEN 1 WHEN %s THEN 0 %s
                                          ELSE -1 END), 0) FROM %I.%I AS c)',
               pg_current_xact_id()::xid,
               coalesce(temporary.condition, 'false'),
               CASE WHEN c.oid IN (SELECT catalog FROM pgtemplate.catalog_row) THEN
                    'WHEN EXISTS (SELECT FROM pgtemplate.catalog_row k
                                   WHERE k.catalog = c.tableoid AND k.id = c.oid
                                     AND k.body = pgtemplate.said(c)) THEN 1' END,
               n.nspname, c.relname), ', ')
      INTO sums
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN temporary ON temporary.catalog = c.relname
     WHERE has_table_privilege(c.oid, 'SELECT')
       AND (c.relkind = 'm' AND c.relispopulated
            OR n.nspname = 'pg_catalog' AND c.relkind = 'r' AND NOT c.relisshared
               -- those that are data, that ANALYZE writes, or that tell nothing that others do not
               AND c.relname NOT IN ('pg_largeobject', 'pg_largeobject_metadata', 'pg_statistic',
                                     'pg_statistic_ext_data', 'pg_depend', 'pg_init_privs'));
    EXECUTE format('CREATE FUNCTION pgtemplate.catalogs() RETURNS bigint[] LANGUAGE plpgsql AS %L',
                   format('BEGIN RETURN ARRAY[%s]; END', sums));
END
$do$;

CREATE TABLE pgtemplate.schema_baseline (
    catalogs bigint[] NOT NULL
);

CREATE FUNCTION pgtemplate.schema_changed(written oid[]) RETURNS boolean
LANGUAGE sql AS $$
    SELECT pgtemplate.catalogs() <> catalogs FROM pgtemplate.schema_baseline
$$;

INSERT INTO pgtemplate.schema_baseline SELECT pgtemplate.catalogs();
