-- A line for each object, which changes when its catalog rows are written: their number, their transactions
-- (xmin, as the distance from transaction 3) and, if everything happens in one transaction, their commands
-- (cmin). In addition, a line for each table that has rows (row_versions.sql).
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_versions(one_transaction bool)
RETURNS text
LANGUAGE plpgsql
SET search_path = ''
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN (
        SELECT string_agg(line, chr(10))
          FROM (SELECT concat_ws(' ', class::bigint, object, count(*),
                                 sum(age(xmin)::bigint - age('3'::xid)) FILTER (WHERE age(xmin) < 2147483647),
                                 sum(CASE WHEN one_transaction THEN cmin::text::bigint END))
                  FROM (SELECT * FROM pg_temp.pgtemplate_relation_versions()
                         UNION ALL
                        SELECT * FROM pg_temp.pgtemplate_object_versions()) AS row_version
                 GROUP BY class, object
                 UNION ALL
                SELECT * FROM pg_temp.pgtemplate_row_versions()) AS each (line));
END
$$;
