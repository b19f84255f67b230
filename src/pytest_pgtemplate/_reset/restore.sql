-- Put the baseline back: rows of the tables written to, then sequences, then large objects.
-- The session that calls it acts as a replica: no foreign key is enforced, no cascade, and no
-- trigger or rule of the user's fires.
CREATE FUNCTION pgtemplate.restore(written oid[]) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    dirty   oid[];
    bloated text[] := '{}';
    r       pgtemplate.relation;
BEGIN
    IF written <> '{}' THEN
        dirty := ARRAY(SELECT DISTINCT unnest(covers) FROM pgtemplate.relation
                        WHERE id = ANY (written));
        FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (dirty) LOOP
            IF r.rest IS NOT NULL THEN EXECUTE r.rest; END IF;
            IF pg_relation_size(r.id) > :large THEN
                IF r.truncate IS NOT NULL THEN
                    EXECUTE r.truncate;
                ELSE
                    bloated := bloated || r.name;
                    EXECUTE r.empty;
                END IF;
            ELSE
                EXECUTE r.empty;
            END IF;
        END LOOP;
        FOR r IN SELECT * FROM pgtemplate.relation WHERE id = ANY (dirty) LOOP
            IF r.refill IS NOT NULL THEN EXECUTE r.refill; END IF;
            IF r.wake IS NOT NULL THEN EXECUTE r.wake; END IF;
        END LOOP;
    END IF;

    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved(dirty);
    IF EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pgtemplate.large_object) THEN
        PERFORM pgtemplate.restore_large_objects();
    END IF;
    RETURN bloated;
END
$$;
