-- Removes large objects that a test created, and restores those that it changed or removed.
CREATE FUNCTION pgtemplate.restore_large_objects() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    to_write CONSTANT int := 131072;    -- INV_WRITE
    was      pgtemplate.large_object;
BEGIN
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata
      WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced IS NULL);

    FOR was IN SELECT * FROM pgtemplate.large_object WHERE replaced IS NULL LOOP
        IF was.id IN (SELECT oid FROM pg_largeobject_metadata) THEN
            IF lo_get(was.id) <> was.body THEN
                PERFORM lo_truncate(lo_open(was.id, to_write), 0);
                PERFORM lo_put(was.id, 0, was.body);
            END IF;
        ELSIF was.owner = current_user::regrole AND was.acl IS NULL THEN
            PERFORM lo_from_bytea(was.id, was.body);
        ELSE
            RAISE 'large object % had an owner or privileges that a new one does not get', was.id;
        END IF;
    END LOOP;
END
$$;
