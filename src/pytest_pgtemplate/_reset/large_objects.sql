-- Removes large objects that a test created, and restores those that it changed or removed.
CREATE FUNCTION pgtemplate.restore_large_objects() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    to_write CONSTANT int := 131072;    -- INV_WRITE
    was      pgtemplate.large_object;
    now      pg_largeobject_metadata;
BEGIN
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata
      WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced IS NULL);

    FOR was IN SELECT * FROM pgtemplate.large_object WHERE replaced IS NULL LOOP
        SELECT * INTO now FROM pg_largeobject_metadata WHERE oid = was.id;
        IF NOT FOUND THEN
            IF was.owner <> current_user::regrole OR was.acl IS NOT NULL OR was.comment IS NOT NULL THEN
                RAISE 'large object % had an owner, privileges or a comment that a new one lacks', was.id;
            END IF;
            PERFORM lo_from_bytea(was.id, was.body);
        ELSIF now.lomowner <> was.owner OR now.lomacl IS DISTINCT FROM was.acl
           OR obj_description(was.id, 'pg_largeobject') IS DISTINCT FROM was.comment THEN
            RAISE 'large object % has another owner, other privileges or another comment', was.id;
        ELSIF lo_get(was.id) <> was.body THEN
            PERFORM lo_truncate(lo_open(was.id, to_write), 0);
            PERFORM lo_put(was.id, 0, was.body);
        END IF;
    END LOOP;
END
$$;
