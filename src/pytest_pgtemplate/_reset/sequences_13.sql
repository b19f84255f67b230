-- Put back the sequences that do not stand where the template left them; PostgreSQL 13 to 17.
-- There pg_sequence_last_value() is quick, but blind to a sequence that was set and not called since
-- (setval(.., false)): that one has to be read itself, at ten times the cost. It is done for those
-- that may well have been set: of no table, of a table that has rows, of a table written to.

DO $do$
DECLARE
    queries text;
BEGIN
    SELECT string_agg(format('SELECT %s::oid FROM %s WHERE last_value <> %s', id, name, last_value),
                      ' UNION ALL ')
      INTO queries
      FROM pgtemplate.sequence
     WHERE NOT is_called
       AND (owner IS NULL OR owner IN (SELECT table_.id
                                         FROM pgtemplate.relation table_
                                         JOIN pgtemplate.relation part ON part.id = ANY (table_.covers)
                                        WHERE part.rows > 0));
    EXECUTE format('CREATE FUNCTION pgtemplate.set_sequences() RETURNS SETOF oid
                    LANGUAGE plpgsql STABLE AS %L',
                   format('BEGIN RETURN QUERY %s; END', coalesce(queries, 'SELECT 0::oid LIMIT 0')));
END
$do$;

CREATE FUNCTION pgtemplate.restore_sequences(written oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    s    pgtemplate.sequence;
    seen bigint;
BEGIN
    FOR s IN SELECT * FROM pgtemplate.sequence
              WHERE owner = ANY (written) AND NOT is_called AND pg_sequence_last_value(id) IS NULL
    LOOP
        EXECUTE 'SELECT last_value FROM ' || s.name INTO seen;
        IF seen <> s.last_value THEN
            PERFORM setval(s.id::regclass, s.last_value, false);
        END IF;
    END LOOP;

    PERFORM setval(id::regclass, last_value, is_called)
       FROM pgtemplate.sequence
      WHERE pg_sequence_last_value(id) IS DISTINCT FROM CASE WHEN is_called THEN last_value END
         OR id IN (SELECT pgtemplate.set_sequences());
END
$$;
