-- The rows of a table as text; NULL if there are too many to show.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_rows(wanted oid[])
RETURNS TABLE (id bigint, relation text, content text[])
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    max_rows CONSTANT int := 1000;
BEGIN
    FOREACH id IN ARRAY wanted LOOP
        relation := pg_describe_object('pg_class'::regclass, id::oid, 0);
        EXECUTE 'SELECT array_agg(r) FROM (SELECT (t.*)::text FROM ONLY ' || id::oid::regclass
                || ' AS t LIMIT ' || max_rows + 1 || ') AS shown (r)' INTO content;
        content := CASE WHEN cardinality(content) <= max_rows THEN content END;
        RETURN NEXT;
    END LOOP;
END
$$;
