-- Tracking by scan: probe every table for changes. It needs no objects in the user's database.
DO $do$
DECLARE
    names  text;
    probes text;
    young  text;
BEGIN
    SELECT string_agg('ONLY ' || r.name, ', ')
               FILTER (WHERE has_table_privilege(r.id, 'UPDATE, DELETE, TRUNCATE')),
           string_agg(format('EXISTS (SELECT FROM ONLY %s WHERE age(xmin) <= age($1))', r.name),
                      ' OR '),
           string_agg(pgtemplate.scan_query(r), ' UNION ALL ')
      INTO names, young, probes
      FROM pgtemplate.relation r
     WHERE r.id = ANY (r.stored_in);

    -- The lock waits for transactions that are still open, whose writes are not visible yet. Only a role that
    -- may write to a table may lock it.
    EXECUTE format('CREATE FUNCTION pgtemplate.written_tables() RETURNS oid[]
                    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                   format('BEGIN %s %s RETURN %s; END', 'LOCK TABLE ' || names || ' IN SHARE MODE;',
                          pgtemplate.comparison(), coalesce('ARRAY(' || probes || ')', '''{}''::oid[]')));
    -- Has a transaction younger than "boundary" committed a write? Does not wait.
    EXECUTE format('CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
                    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                   format('BEGIN RETURN %s; END', coalesce(young, 'false')));
END
$do$;

-- There is no log.
CREATE FUNCTION pgtemplate.clear_log() RETURNS void LANGUAGE sql AS '';

-- A scan cannot distinguish an INSERT from an UPDATE.
CREATE FUNCTION pgtemplate.inserted_counts() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid, 0.0 WHERE false $$;
