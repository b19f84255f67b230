-- Restores large objects: deletes those that a test created, and restores those that it changed or deleted,
-- with their owner, privileges and comment. Returns whether there were any.
CREATE FUNCTION pgtemplate.restore_large_objects() RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    to_write CONSTANT int := 131072;    -- INV_WRITE
    was      pgtemplate.large_object;
    now      pg_largeobject_metadata;
    changed  boolean;
BEGIN
    PERFORM lo_unlink(oid) FROM pg_largeobject_metadata
      WHERE oid NOT IN (SELECT id FROM pgtemplate.large_object WHERE replaced_by IS NULL);
    changed := FOUND;

    FOR was IN SELECT * FROM pgtemplate.large_object WHERE replaced_by IS NULL LOOP
        SELECT * INTO now FROM pg_largeobject_metadata WHERE oid = was.id;
        IF NOT FOUND THEN
            changed := true;
            PERFORM pgtemplate.create_large_object(was);
        ELSIF (now.lomowner, now.lomacl) IS DISTINCT FROM (was.owner, was.acl) THEN
            changed := true;
            PERFORM lo_unlink(was.id);
            PERFORM pgtemplate.create_large_object(was);
        ELSIF (CASE WHEN was.data IS NOT NULL THEN lo_get(was.id) <> was.data END) THEN
            changed := true;
            PERFORM lo_truncate(lo_open(was.id, to_write), 0);
            PERFORM lo_put(was.id, 0, was.data);
        END IF;
        IF obj_description(was.id, 'pg_largeobject') IS DISTINCT FROM was.comment THEN
            changed := true;
            EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', was.id, was.comment);
        END IF;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION pgtemplate.create_large_object(was pgtemplate.large_object) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    object CONSTANT text := format('LARGE OBJECT %s', was.id);
    r      record;
BEGIN
    IF was.data IS NULL THEN
        RAISE 'large object % cannot be restored: this role may not read it', was.id;
    END IF;
    PERFORM lo_from_bytea(was.id, was.data);
    IF was.acl IS NOT NULL THEN
        EXECUTE format('REVOKE ALL ON %s FROM %I', object, current_user);
        FOR r IN SELECT * FROM aclexplode(was.acl) LOOP
            EXECUTE format('GRANT %s ON %s TO %s %s', r.privilege_type, object,
                           CASE r.grantee WHEN was.owner THEN quote_ident(current_user)
                                          WHEN 0 THEN 'PUBLIC'
                                          ELSE r.grantee::regrole::text END,
                           CASE WHEN r.is_grantable THEN 'WITH GRANT OPTION' END);
        END LOOP;
    END IF;
    IF was.owner <> (SELECT oid FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('ALTER %s OWNER TO %s', object, was.owner::regrole);
    END IF;
    IF (SELECT lomacl IS DISTINCT FROM was.acl FROM pg_largeobject_metadata WHERE oid = was.id) THEN
        RAISE 'the privileges of large object % cannot be restored', was.id;
    END IF;
END
$$;
