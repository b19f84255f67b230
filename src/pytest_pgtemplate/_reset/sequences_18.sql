-- Put back the sequences that do not stand where the template left them; PostgreSQL 18 and later.
CREATE FUNCTION pgtemplate.restore_sequences(written oid[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setval(id::regclass, last_value, is_called)
       FROM (SELECT *, pg_get_sequence_data(id) AS now
               FROM pgtemplate.sequence
             OFFSET 0) AS s     -- so each is read once, not once for each column
      WHERE (now).last_value <> last_value OR (now).is_called <> is_called;
END
$$;
