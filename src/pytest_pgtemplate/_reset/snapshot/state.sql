-- The state of a database, as a few hundred rows with two numbers each. Two states can be compared, of
-- two databases or of two moments. "boundary": a transaction older than every change. For "all_rows" and
-- "relations", see catalogs.sql and contents.sql.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_state(boundary xid, all_rows boolean, relations regclass)
RETURNS TABLE (kind text, id oid, object text, count bigint, digest numeric)
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    RETURN QUERY SELECT 'catalog', c.* FROM pg_temp.pgtemplate_catalogs(age(boundary)) AS c;
    RETURN QUERY SELECT * FROM pg_temp.pgtemplate_contents(age(boundary), all_rows, relations);
    RETURN QUERY SELECT 'sequence', s.* FROM pg_temp.pgtemplate_sequences(relations) AS s;
    RETURN QUERY SELECT 'large object', l.* FROM pg_temp.pgtemplate_large_objects() AS l;
    RETURN QUERY SELECT 'shared', s.* FROM pg_temp.pgtemplate_shared_catalogs() AS s;
END
$$;

CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_sequences(relations regclass)
RETURNS TABLE (id oid, object text, count bigint, digest numeric)
LANGUAGE plpgsql
SET search_path = ''
AS $$
BEGIN
    FOR id, object IN
        SELECT c.oid, pg_describe_object(c.tableoid, c.oid, 0)
          FROM pg_class c
          LEFT JOIN pg_class ours ON ours.oid = relations
         WHERE c.relpersistence <> 't' AND c.relnamespace IS DISTINCT FROM ours.relnamespace
           AND has_schema_privilege(c.relnamespace, 'USAGE')
           AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') END
    LOOP
        EXECUTE format('SELECT last_value, is_called::int FROM %s', id::regclass) INTO count, digest;
        RETURN NEXT;
    END LOOP;
END
$$;

-- NULL for one that this role may not read.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_large_object(id oid, owner oid, acl aclitem[]) RETURNS bytea
LANGUAGE sql
SET search_path = ''
AS $$
    SELECT lo_get(id)
     WHERE pg_has_role(owner, 'USAGE')
        OR EXISTS (SELECT FROM aclexplode(acl) AS a
                    WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
$$;

CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_large_objects()
RETURNS TABLE (id oid, object text, count bigint, digest numeric)
LANGUAGE sql
SET search_path = ''
AS $$
    SELECT oid, 'large object ' || oid, coalesce(length(body), 0),
           hashtextextended(concat_ws(' ', lomowner, lomacl, md5(body),
                                      obj_description(oid, 'pg_largeobject')) COLLATE "C", 0)
      FROM pg_largeobject_metadata
     CROSS JOIN pg_temp.pgtemplate_large_object(oid, lomowner, lomacl) AS body
$$;

-- The rows of shared catalogs about this database, and a catalog that only superusers may read.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_shared_catalogs()
RETURNS TABLE (id oid, object text, count bigint, digest numeric)
LANGUAGE sql
SET search_path = ''
AS $$
    SELECT 'pg_shdepend'::regclass::oid, 'owners and privileges', count(*),
           coalesce(sum(hashtextextended(ROW(classid, objid, objsubid, refclassid, refobjid, deptype)::text
                                         COLLATE "C", 0)), 0)
      FROM pg_shdepend JOIN pg_database d ON d.oid = dbid
     WHERE d.datname = current_database() AND classid <> 'pg_largeobject'::regclass
       AND NOT pg_temp.pgtemplate_is_temporary(classid, objid)
     UNION ALL
    SELECT s.oid, 'subscription ' || s.subname, 1, 0
      FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid
     WHERE d.datname = current_database()
     UNION ALL
    SELECT umid, format('user mapping for %s on server %s', usename, srvname), 1,
           hashtextextended(umoptions::text COLLATE "C", 0)
      FROM pg_user_mappings
$$;
