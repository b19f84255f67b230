-- Tracking by scan: probe every table for changes. It needs no objects in the user's database.
DO $do$
DECLARE
    names  text;
    probes text;
    young  text;
BEGIN
    SELECT string_agg('ONLY ' || r.name, ', ')
               FILTER (WHERE has_table_privilege(r.id, 'UPDATE, DELETE, TRUNCATE')),
           string_agg(format('EXISTS (SELECT FROM ONLY %s WHERE age(xmin) <= age(boundary))', r.name),
                      ' OR '),
           string_agg(pgtemplate.probe(r), ' UNION ALL ')
      INTO names, young, probes
      FROM pgtemplate.relation r
     WHERE r.id = ANY (r.covers);

    -- The lock waits for transactions that are still open: what they wrote cannot be seen yet. It takes
    -- the right to write to a table.
    EXECUTE format('CREATE FUNCTION pgtemplate.written() RETURNS oid[]
                    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                   format('BEGIN %s RETURN %s; END', 'LOCK TABLE ' || names || ' IN SHARE MODE;',
                          coalesce('ARRAY(' || probes || ')', '''{}''::oid[]')));
    -- Whether anything has been committed since a transaction. Does not wait.
    EXECUTE format('CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
                    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
                   format('BEGIN RETURN %s; END', coalesce(young, 'false')));
END
$do$;

CREATE FUNCTION pgtemplate.forget() RETURNS void LANGUAGE sql AS '';

-- A scan cannot tell an INSERT from an UPDATE.
CREATE FUNCTION pgtemplate.inserted() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid, 0.0 WHERE false $$;
