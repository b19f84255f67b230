-- The sequences whose value differs from the state; PostgreSQL 18 and later.
CREATE FUNCTION pgtemplate.changed_sequences() RETURNS SETOF pgtemplate.sequence
LANGUAGE sql STABLE AS $$
    SELECT id, name, cached, readable, uncalled, last_value, is_called
      FROM (SELECT *, pg_get_sequence_data(id) AS now
              FROM pgtemplate.sequence
            OFFSET 0) AS s     -- OFFSET 0: read each sequence once, not once per column
     WHERE (now).last_value <> last_value OR (now).is_called <> is_called
        OR NOT readable AND pg_sequence_last_value(id) IS DISTINCT FROM CASE WHEN is_called THEN last_value END
$$;
