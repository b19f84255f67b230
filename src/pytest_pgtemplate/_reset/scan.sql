-- Tracking by scan: probe every table for changes. It needs no objects in the user's database.
DO $do$
DECLARE
    names  text;
    probes text;
    young  text;
BEGIN
    SELECT string_agg('ONLY ' || r.name, ', '),
           string_agg(format('EXISTS (SELECT FROM ONLY %s WHERE age(xmin) <= age(boundary))', r.name),
                      ' OR '),
           string_agg(CASE
               WHEN row_security_active(r.id) THEN     -- rows may be hidden: always restore it
                   format('SELECT %s::oid', r.id)
               ELSE
                   format('SELECT r.id FROM pgtemplate.relation r
                            WHERE r.id = %1$s
                              AND CASE WHEN r.rows = 0 THEN EXISTS (SELECT FROM ONLY %2$s)
                                  ELSE (SELECT count(*) <> r.rows
                                            OR NOT bool_and(age(t.xmin) > age(r.since)
                                                            OR t.xmin = ANY (r.younger))
                                          FROM ONLY %2$s AS t) END', r.id, r.name)
               END, ' UNION ALL ')
      INTO names, young, probes
      FROM pgtemplate.relation r
     WHERE r.id = ANY (r.covers);

    -- The lock waits for open transactions, whose writes are not yet visible.
    EXECUTE format('CREATE FUNCTION pgtemplate.written() RETURNS oid[] LANGUAGE plpgsql AS %L',
        CASE WHEN names IS NULL THEN 'BEGIN RETURN ''{}''; END' ELSE
        format('BEGIN LOCK TABLE %s IN SHARE MODE; RETURN ARRAY(%s); END', names, probes) END);
    -- Has a transaction younger than "boundary" committed a write? Does not wait.
    EXECUTE format('CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
                    LANGUAGE plpgsql AS %L', format('BEGIN RETURN %s; END', coalesce(young, 'false')));
END
$do$;

CREATE FUNCTION pgtemplate.forget() RETURNS void LANGUAGE sql AS '';

-- A scan cannot tell an INSERT from an UPDATE.
CREATE FUNCTION pgtemplate.inserted() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid, 0.0 WHERE false $$;
