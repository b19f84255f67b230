-- The sequences whose value differs from the state; PostgreSQL 13 to 17.
-- pg_sequence_last_value() is fast, but it does not see setval(.., false). To see that, the sequence must
-- be read itself, at ten times the cost. This is done for sequences without a table, of a table that has
-- rows, and of a table that was written to.

DO $do$
DECLARE
    queries text;
BEGIN
    SELECT string_agg(format('SELECT %s::oid, last_value FROM %s', id, name), ' UNION ALL ')
      INTO queries
      FROM pgtemplate.sequence
     WHERE NOT is_called
       AND (owner IS NULL OR owner IN (SELECT table_.id
                                         FROM pgtemplate.relation table_
                                         JOIN pgtemplate.relation part ON part.id = ANY (table_.covers)
                                        WHERE part.rows > 0));
    EXECUTE format('CREATE FUNCTION pgtemplate.sequences_read() RETURNS TABLE (id oid, now bigint)
                    LANGUAGE plpgsql STABLE AS %L',
                   format('BEGIN RETURN QUERY %s; END', coalesce(queries, 'SELECT 0::oid, 0::bigint LIMIT 0')));
END
$do$;

CREATE FUNCTION pgtemplate.moved_sequences(written oid[]) RETURNS SETOF pgtemplate.sequence
LANGUAGE plpgsql AS $$
DECLARE
    s   pgtemplate.sequence;
    now bigint;
BEGIN
    RETURN QUERY
    SELECT * FROM pgtemplate.sequence
     WHERE pg_sequence_last_value(sequence.id) IS DISTINCT FROM CASE WHEN is_called THEN last_value END
     UNION
    SELECT sequence.* FROM pgtemplate.sequence JOIN pgtemplate.sequences_read() AS read USING (id)
     WHERE NOT is_called AND last_value <> read.now;

    FOR s IN SELECT * FROM pgtemplate.sequence
              WHERE owner = ANY (written) AND NOT is_called AND pg_sequence_last_value(id) IS NULL
    LOOP
        EXECUTE 'SELECT last_value FROM ' || s.name INTO now;
        IF now <> s.last_value THEN
            RETURN NEXT s;
        END IF;
    END LOOP;
END
$$;
