-- Large objects: those that a test made go, those that it changed or removed come back.
CREATE FUNCTION pgtemplate.restore_large_objects() RETURNS void
LANGUAGE sql AS $$
    SELECT lo_unlink(oid) FROM pg_largeobject_metadata
     WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object);
    SELECT lo_from_bytea(id, '') FROM pgtemplate.large_object
     WHERE id NOT IN (SELECT oid FROM pg_largeobject_metadata);
    SELECT lo_put(id, 0, body) FROM pgtemplate.large_object
     WHERE lo_get(id) IS DISTINCT FROM body;
$$;
