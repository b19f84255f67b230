-- The content of each catalog of this database, as two numbers.
--
-- A version of a row never changes. So a catalog is unchanged if it has the same number of rows that are
-- older than "boundary_age" transactions (count), and no younger ones (digest: the number of objects with
-- younger rows). A reset itself may write to five catalogs (TRUNCATE, DISABLE TRIGGER, DISABLE RULE,
-- RESTART): for those, the content is compared. Temporary objects are ignored. For large objects, see
-- state.sql.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_catalogs(boundary_age int)
RETURNS TABLE (id oid, object text, count bigint, digest numeric)
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    by_age     text;
    by_content text;
BEGIN
    SELECT string_agg(format(
               'SELECT %1$s::oid, %2$L,
                       count(*) FILTER (WHERE age(xmin) > %3$s AND %4$s <> ''pg_largeobject''::regclass),
                       array_agg(%4$s::oid) FILTER (WHERE age(xmin) <= %3$s),
                       array_agg(%5$s::oid) FILTER (WHERE age(xmin) <= %3$s)
                  FROM %2$I %6$s',
               c.oid, c.relname, boundary_age, coalesce(part.class, 'tableoid'), coalesce(part.id, 'oid'),
               CASE c.relname WHEN 'pg_description'     -- a reset restores those of large objects
                   THEN 'WHERE classoid <> ''pg_largeobject''::regclass' END),
               ' UNION ALL ')
      INTO by_age
      FROM pg_class c
      LEFT JOIN pg_temp.pgtemplate_catalog_parts() AS part ON part.catalog = c.oid
     WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND NOT c.relisshared
       AND c.relname NOT IN ('pg_class', 'pg_index', 'pg_sequence', 'pg_trigger', 'pg_rewrite', -- see below
                             'pg_largeobject', 'pg_largeobject_metadata',           -- see state.sql
                             'pg_statistic', 'pg_statistic_ext_data')               -- ANALYZE
       AND has_table_privilege(c.oid, 'SELECT');

    SELECT string_agg(format(
               'SELECT %1$s::oid, %2$L, count(*), sum(hashtextextended(ROW(%3$s)::text COLLATE "C", 0))
                  FROM %2$I
                 WHERE %4$s NOT IN (SELECT oid FROM pg_class WHERE relpersistence = ''t'')',
               catalog::oid, catalog, columns, relation), ' UNION ALL ')
      INTO by_content
      FROM (VALUES ('pg_class'::regclass, 'oid'), ('pg_index', 'indrelid'), ('pg_sequence', 'seqrelid'),
                   ('pg_trigger', 'tgrelid'),
                   ('pg_rewrite', 'oid >= 16384 AND ev_class')) AS each (catalog, relation)
     CROSS JOIN LATERAL (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
                           FROM pg_attribute
                          WHERE attrelid = catalog AND attnum > 0
                            AND attname <> ALL (pg_temp.pgtemplate_ignored_columns())
                        ) AS compared (columns);

    RETURN QUERY EXECUTE format(
        'SELECT id, name, old,
                (SELECT count(*)::numeric
                   FROM (SELECT DISTINCT * FROM unnest(classes, ids)) AS young (class, id)
                  WHERE young.class <> ''pg_largeobject''::regclass
                    AND NOT pg_temp.pgtemplate_is_temporary(young.class, young.id))
           FROM (%s) AS catalog (id, name, old, classes, ids)
          UNION ALL
         SELECT id, name, n, coalesce(sum, 0) FROM (%s) AS catalog (id, name, n, sum)',
        by_age, by_content);
END
$$;

-- Returns the rows of the catalogs that are only counted above, with the objects to which they belong.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_catalog_rows(wanted oid[])
RETURNS TABLE (object text, definition text)
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    queries text;
BEGIN
    SELECT string_agg(format(
               'SELECT pg_describe_object(%1$s, %2$s, %3$s),
                       (to_jsonb(c) - pg_temp.pgtemplate_ignored_columns())::text
                  FROM %4$s AS c WHERE NOT pg_temp.pgtemplate_is_temporary(%1$s, %2$s)',
               coalesce(part.class, 'tableoid'), coalesce(part.id, 'oid'),
               coalesce(part.position, '0'), catalog::regclass), ' UNION ALL ')
      INTO queries
      FROM unnest(wanted) AS catalog
      LEFT JOIN pg_temp.pgtemplate_catalog_parts() AS part USING (catalog);
    RETURN QUERY EXECUTE queries;
END
$$;

-- Catalogs whose rows have no oid, or are parts of objects in another catalog.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_catalog_parts()
RETURNS TABLE (catalog oid, class text, id text, "position" text)
LANGUAGE sql
SET search_path = ''
AS $$
    SELECT name::oid, CASE WHEN of ~ '^pg_' THEN of::regclass::oid::text ELSE of END, id, number
      FROM (VALUES ('pg_aggregate'::regclass, 'pg_proc',      'aggfnoid',   '0'),
                   ('pg_attribute',           'pg_class',     'attrelid',   'attnum'),
                   ('pg_depend',              'classid',      'objid',      'objsubid'),
                   ('pg_description',         'classoid',     'objoid',     'objsubid'),
                   ('pg_enum',                'pg_type',      'enumtypid',  '0'),
                   ('pg_foreign_table',       'pg_class',     'ftrelid',    '0'),
                   ('pg_index',               'pg_class',     'indexrelid', '0'),
                   ('pg_inherits',            'pg_class',     'inhrelid',   '0'),
                   ('pg_init_privs',          'classoid',     'objoid',     'objsubid'),
                   ('pg_partitioned_table',   'pg_class',     'partrelid',  '0'),
                   ('pg_range',               'pg_type',      'rngtypid',   '0'),
                   ('pg_seclabel',            'classoid',     'objoid',     'objsubid'),
                   ('pg_sequence',            'pg_class',     'seqrelid',   '0'),
                   ('pg_subscription_rel',    'pg_class',     'srrelid',    '0'),
                   ('pg_ts_config_map',       'pg_ts_config', 'mapcfg',     '0')
           ) AS part (name, of, id, number)
$$;

-- Is an object temporary: a temporary schema, or in one? The planner can inline this function. An object that
-- does not exist (NULL) was temporary: its session has ended since the snapshot that shows its rows. Objects
-- outside of schemas may have any name.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_is_temporary(class oid, id oid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT class <> 0   -- PostgreSQL 14 has rows of pg_depend and pg_shdepend that are about no object
       AND class <> ALL ('{pg_am, pg_event_trigger, pg_foreign_data_wrapper, pg_foreign_server, pg_language,
                           pg_publication}'::regclass[])
       AND coalesce((pg_identify_object_as_address(nullif(class, 0), id, 0)).object_names[1]
                    ~ '^pg_(toast_)?temp(_\d+)?(\.|$)',
                    (pg_identify_object_as_address(nullif(class, 0), id, 0)).object_names IS NULL)
$$;

-- Columns that VACUUM, TRUNCATE or rolled-back DDL may change.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_ignored_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT '{relfilenode, relpages, reltuples, relallvisible, relallfrozen, relfrozenxid, relminmxid,
             relhasindex, relhasrules, relhastriggers, relhassubclass, indcheckxmin}'::text[]
$$;
