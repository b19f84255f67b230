-- Put the rows of the tables written to back; which tables have grown and want a VACUUM now.
-- The session that calls it acts as a replica: no foreign key is enforced, no cascade, and no
-- trigger or rule of the user's fires. So each table is a matter of its own.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    r     pgtemplate.relation;
    found bigint;
    grown text[] := '{}';
BEGIN
    FOR r IN SELECT * FROM pgtemplate.dirty(written) LOOP
        IF pg_relation_size(r.id) > r.large THEN
            CONTINUE WHEN pgtemplate.truncated(r.truncate);
            grown := grown || r.name;
        END IF;
        IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
        IF r.rows = 0 THEN
            EXECUTE 'DELETE FROM ONLY ' || r.name;
        ELSE
            EXECUTE format('WITH new AS (DELETE FROM ONLY %1$s WHERE NOT %2$s)
                            SELECT count(*) FROM ONLY %1$s WHERE %2$s', r.name, pgtemplate.is_old(r))
               INTO found;
            IF found < r.rows THEN
                EXECUTE r.refill;
                PERFORM pgtemplate.remember_refill(ARRAY[r.id]);
            END IF;
        END IF;
        IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
    END LOOP;
    RETURN grown;
END
$$;
