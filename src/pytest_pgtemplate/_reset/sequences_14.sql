-- The sequences whose value differs from the state; PostgreSQL 14 to 17.
-- pg_sequence_last_value() is fast, but it does not see setval(.., false). So a sequence that the template
-- has never called is read itself. The first nextval() and every setval() take a transaction id, unless the
-- sequence is unlogged: as long as the server has assigned none since the last reset, no read is necessary.

DO $do$
DECLARE
    queries  text;
    unlogged boolean;
BEGIN
    SELECT string_agg(format('SELECT %s::oid, last_value, is_called FROM %s', s.id, s.name), ' UNION ALL '),
           coalesce(bool_or(relpersistence = 'u'), false)
      INTO queries, unlogged
      FROM pgtemplate.sequence s JOIN pg_class c ON c.oid = s.id
     WHERE uncalled;
    EXECUTE format('CREATE FUNCTION pgtemplate.read_uncalled_sequences()
                    RETURNS TABLE (id oid, value bigint, called boolean) LANGUAGE plpgsql STABLE AS %L',
                   format('BEGIN RETURN QUERY %s; END',
                          coalesce(queries, 'SELECT 0::oid, 0::bigint, false LIMIT 0')));
    EXECUTE format('CREATE FUNCTION pgtemplate.transaction_snapshot() RETURNS text LANGUAGE sql STABLE AS %L',
                   CASE WHEN unlogged THEN 'SELECT NULL::text'
                        ELSE 'SELECT pg_current_snapshot()::text' END);
END
$do$;

CREATE FUNCTION pgtemplate.changed_sequences() RETURNS SETOF pgtemplate.sequence
LANGUAGE plpgsql AS $$
DECLARE
    mine bigint := pg_current_xact_id_if_assigned()::text;
    s    pgtemplate.sequence;
BEGIN
    RETURN QUERY
    SELECT * FROM pgtemplate.sequence
     WHERE NOT uncalled
       AND pg_sequence_last_value(id) IS DISTINCT FROM CASE WHEN is_called THEN last_value END;

    IF mine IS NULL AND pgtemplate.transaction_snapshot() = current_setting('pgtemplate.snapshot', true) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT sequence.* FROM pgtemplate.read_uncalled_sequences() AS now JOIN pgtemplate.sequence USING (id)
     WHERE value <> last_value OR called <> is_called;
    -- Sequences for which a layer has used setval(.., false).
    FOR s IN SELECT * FROM pgtemplate.sequence
              WHERE NOT is_called AND NOT uncalled AND readable AND pg_sequence_last_value(id) IS NULL
    LOOP
        RETURN QUERY EXECUTE format('SELECT ($1).* FROM %s WHERE last_value <> ($1).last_value', s.name)
               USING s;
    END LOOP;
    -- The next snapshot, if the server assigns no transaction id until then.
    PERFORM set_config('pgtemplate.snapshot',
                       CASE WHEN mine IS NULL THEN pgtemplate.transaction_snapshot()
                            ELSE format('%s:%1$s:', mine + 1) END, false);
END
$$;
