-- The privileges on an object, sorted; the default privileges if none were granted explicitly.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_privileges(acl aclitem[], kind text, owner oid) RETURNS text
LANGUAGE sql AS $$
    SELECT 'PRIVILEGES ' || string_agg(item::text, ', ' ORDER BY item::text)
      FROM unnest(acl) AS item
     WHERE NOT (acl @> acldefault(kind::"char", owner) AND acldefault(kind::"char", owner) @> acl)
$$;
