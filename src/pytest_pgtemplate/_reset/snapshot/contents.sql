-- The rows of each table and materialized view: how many there are (count), and what they are (digest, a
-- sum: so two sets of rows add up). Unless "all_rows" are read, a table with more than 1,000 is judged by
-- their age: digest is the number of those that were written no more than so many transactions "ago".
-- "relations" (pgtemplate.relation) knows which of these a reset has put back, so that they count as old.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_contents(ago int, all_rows boolean, relations regclass)
RETURNS TABLE (kind text, id oid, object text, count bigint, digest numeric)
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    many CONSTANT int := 1000;
    read text := CASE WHEN all_rows THEN 'ALL' ELSE (many + 1)::text END;
    young text;
BEGIN
    FOR kind, id, object IN
        SELECT CASE WHEN c.relnamespace = ours.relnamespace THEN 'bookkeeping' ELSE 'rows' END,
               c.oid, 'rows of ' || pg_describe_object(c.tableoid, c.oid, 0)
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
          LEFT JOIN pg_class ours ON ours.oid = relations
         WHERE (c.relkind = 'r' OR c.relkind = 'm' AND c.relispopulated)
           AND c.relpersistence <> 't'
           AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
           AND has_table_privilege(c.oid, 'SELECT')
           AND NOT row_security_active(c.oid)
    LOOP
        count := 0;
        digest := 0;
        IF pg_relation_size(id) > 0 THEN
            EXECUTE format('SELECT count(*), sum(hashtextextended(body COLLATE "C", 0))
                              FROM (SELECT %s::text FROM ONLY %s AS t LIMIT %s) AS shown (body)',
                           CASE WHEN id = relations  -- what changes with every reset
                                THEN '(to_jsonb(t) - ''{since, younger, leaving, large, tail}''::text[])'
                                ELSE 't' END, id::regclass, read) INTO count, digest;
        END IF;
        IF count > many AND NOT all_rows THEN
            young := format('age(xmin) <= %s', ago);
            IF relations IS NOT NULL THEN
                EXECUTE format('SELECT format(''%%s AND age(xmin) <= %%s AND xmin <> ALL (%%L)'',
                                              $1, age(since), younger) FROM %s WHERE id = $2',
                               relations) INTO young USING young, id;
            END IF;
            EXECUTE format('SELECT count(*), count(*) FILTER (WHERE %s) FROM ONLY %s', young, id::regclass)
               INTO count, digest;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
