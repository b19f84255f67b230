-- Tracking by looking: probe every table. Nothing of ours has to be in the user's database.
DO $do$
DECLARE
    names  text;
    probes text;
BEGIN
    SELECT string_agg('ONLY ' || r.name, ', '),
           string_agg(CASE
               WHEN row_security_active(r.id) THEN     -- there may be rows that we cannot see
                   format('SELECT %s::oid', r.id)
               WHEN r.rows = 0 THEN
                   format('SELECT %s::oid WHERE EXISTS (SELECT FROM ONLY %s)', r.id, r.name)
               ELSE
                   format('SELECT r.id FROM pgtemplate.relation r
                            WHERE r.id = %s
                              AND (SELECT count(*) <> r.rows
                                       OR NOT bool_and(age(t.xmin) > age(r.since)
                                                       OR t.xmin = ANY (r.refilled))
                                     FROM ONLY %s AS t)', r.id, r.name)
               END, ' UNION ALL ')
      INTO names, probes
      FROM pgtemplate.relation r
     WHERE r.id = ANY (r.covers);

    -- The lock waits for transactions that are still open: what they wrote cannot be seen yet.
    EXECUTE format('CREATE FUNCTION pgtemplate.written() RETURNS oid[] LANGUAGE plpgsql AS %L',
        CASE WHEN names IS NULL THEN 'BEGIN RETURN ''{}''; END' ELSE
        format('BEGIN LOCK TABLE %s IN SHARE MODE; RETURN ARRAY(%s); END', names, probes) END);
END
$do$;

CREATE FUNCTION pgtemplate.forget() RETURNS void LANGUAGE sql AS '';
