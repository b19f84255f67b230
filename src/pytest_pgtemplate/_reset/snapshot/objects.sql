-- The definitions of objects ($1, from pgtemplate_versions), similar to pg_dump --schema-only, as one
-- line of text each. "part_of" is the table with which an object is dropped. All names are qualified, and
-- no text contains an oid, so that two databases can be compared.
--
-- The functions for the kinds of objects return the catalog of an object (class), its oid, the number of a
-- column (part), the table and the schema that it belongs to, and its definition. The planner inlines them.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_objects(wanted oid[])
RETURNS TABLE (catalog bigint, id bigint, part_of text, object text, definition text)
LANGUAGE plpgsql
SET search_path = ''
SET quote_all_identifiers = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH line (class, object, part, relation, schema, definition) AS (
        SELECT * FROM pg_temp.pgtemplate_relations(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_columns(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_table_parts(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_types(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_functions(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_other_schema_objects(wanted)
         UNION ALL
        SELECT * FROM pg_temp.pgtemplate_objects_outside_schemas(wanted)
    )
    SELECT l.class::bigint, l.object::bigint,
           CASE WHEN l.relation <> 0 THEN pg_describe_object('pg_class'::regclass, l.relation, 0)
           END,
           CASE l.part WHEN -1 THEN 'columns of ' || pg_describe_object(l.class, l.object, 0)
                       ELSE pg_describe_object(l.class, l.object, l.part) END,
           l.definition
      FROM line l LEFT JOIN pg_namespace n ON n.oid = l.schema
     WHERE (l.schema IS NULL
            OR n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgtemplate'))
       AND NOT EXISTS (SELECT FROM pg_depend d  -- an extension's
                        WHERE d.deptype = 'e'
                          AND (d.classid = l.class AND d.objid = l.object
                               OR d.classid = 'pg_class'::regclass AND d.objid = l.relation))
     UNION ALL
    SELECT d.tableoid::bigint, d.objoid::bigint,
           CASE WHEN d.objsubid <> 0 THEN pg_describe_object(d.classoid, d.objoid, 0) END,
           'comment on ' || pg_describe_object(d.classoid, d.objoid, d.objsubid),
           quote_literal(d.description)
      FROM pg_description d
     WHERE d.objoid = ANY (wanted)
       AND NOT EXISTS (SELECT FROM pg_depend e
                        WHERE e.deptype = 'e' AND e.classid = d.classoid AND e.objid = d.objoid);
END
$$;
