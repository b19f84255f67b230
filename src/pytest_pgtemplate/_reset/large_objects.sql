-- Large objects: those that a test made go, those that it changed or removed come back.
CREATE FUNCTION pgtemplate.restore_large_objects() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    to_write CONSTANT int := 131072;    -- INV_WRITE
BEGIN
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata
      WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object);

    PERFORM lo_truncate(lo_open(id, to_write), 0), lo_put(id, 0, body)
       FROM pgtemplate.large_object
      WHERE id IN (SELECT oid FROM pg_largeobject_metadata) AND lo_get(id) <> body;

    IF EXISTS (SELECT FROM pgtemplate.large_object
                WHERE id NOT IN (SELECT oid FROM pg_largeobject_metadata)
                  AND (owner <> current_user::regrole OR acl IS NOT NULL)) THEN
        RAISE 'a large object was removed that had another owner or privileges';
    END IF;
    PERFORM lo_from_bytea(id, body) FROM pgtemplate.large_object
      WHERE id NOT IN (SELECT oid FROM pg_largeobject_metadata);
END
$$;
