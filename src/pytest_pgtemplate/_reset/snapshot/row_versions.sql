-- A line for each table that has rows: 0, its oid, the number of rows and a digest of them.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_row_versions() RETURNS SETOF text
LANGUAGE plpgsql
SET search_path = ''
AS $$
DECLARE
    source oid;
    found  bigint;
    digest numeric;
BEGIN
    FOR source IN
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.oid >= 16384 AND c.relkind IN ('r', 'm')
           AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pgtemplate')
           AND pg_relation_size(c.oid) > 0 AND has_table_privilege(c.oid, 'SELECT')
           AND has_schema_privilege(n.oid, 'USAGE')
    LOOP
        EXECUTE 'SELECT count(*), sum(hashtextextended((t.*)::text, 0)) FROM ONLY '
                || source::regclass || ' AS t' INTO found, digest;
        CONTINUE WHEN found = 0;
        RETURN NEXT concat_ws(' ', '0', source, found, digest);
    END LOOP;
END
$$;
