-- The sequences whose value differs from the state; PostgreSQL 18 and later.
CREATE FUNCTION pgtemplate.moved_sequences(written oid[]) RETURNS SETOF pgtemplate.sequence
LANGUAGE sql STABLE AS $$
    SELECT id, name, owner, last_value, is_called
      FROM (SELECT *, pg_get_sequence_data(id) AS now
              FROM pgtemplate.sequence
            OFFSET 0) AS s     -- OFFSET 0: read each sequence once, not once per column
     WHERE (now).last_value <> last_value OR (now).is_called <> is_called
$$;
