-- The rows of each table and materialized view: their number (count), and a digest, which is a sum, so
-- that the digests of two sets of rows can be added. Unless "all_rows", the digest of a table with more
-- than 1,000 rows is the number of rows younger than "boundary_age" transactions. Rows that a reset has
-- inserted again count as old: "relations" (pgtemplate.relation) lists their transactions.
-- "t" alone would be a column of that name.
-- Layers also change the plugin's own tables in that schema: for large ones only the number is compared.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_contents(boundary_age int, all_rows boolean, relations regclass)
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
           AND has_schema_privilege(n.oid, 'USAGE')
           AND has_table_privilege(c.oid, 'SELECT')
           AND NOT row_security_active(c.oid)
    LOOP
        count := 0;
        digest := 0;
        IF pg_relation_size(id) > 0 THEN
            EXECUTE format('SELECT count(*), sum(hashtextextended(body COLLATE "C", 0))
                              FROM (SELECT %s::text FROM ONLY %s AS t LIMIT %s) AS shown (body)',
                           CASE WHEN id = relations  -- without the columns that a reset or a layer changes
                                THEN '(to_jsonb(t) - ''{boundary_xid, younger_xids, has_removed_rows,
                                                        truncate_size, last_ctid}''::text[])'
                                ELSE '(t.*)' END, id::regclass, read) INTO count, digest;
        END IF;
        IF count > many AND NOT all_rows THEN
            young := CASE kind WHEN 'rows' THEN format('age(xmin) <= %s', boundary_age) ELSE 'false' END;
            IF kind = 'rows' AND relations IS NOT NULL THEN
                EXECUTE format('SELECT coalesce(
                                    (SELECT format(''%%s AND age(xmin) <= %%s AND xmin <> ALL (%%L)'',
                                                   $1, age(boundary_xid), younger_xids)
                                       FROM %s WHERE id = $2), $1)', relations) INTO young USING young, id;
            END IF;
            EXECUTE format('SELECT count(*), count(*) FILTER (WHERE %s) FROM ONLY %s', young, id::regclass)
               INTO count, digest;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
