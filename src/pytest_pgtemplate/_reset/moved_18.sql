-- Sequences that do not stand where the template left them; PostgreSQL 18 and later.
CREATE FUNCTION pgtemplate.moved(dirty oid[])
RETURNS SETOF pgtemplate.sequence
LANGUAGE sql AS $$
    SELECT s.*
      FROM pgtemplate.sequence s, pg_get_sequence_data(s.id) AS now
     WHERE (now.last_value, now.is_called) IS DISTINCT FROM (s.last_value, s.is_called)
$$;
