-- Returns the user's relations and large objects that this role may not read, so that no reset notices what
-- others write to them.
CREATE FUNCTION pgtemplate.uncovered() RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT array_agg(name ORDER BY name)
      FROM (SELECT name FROM pgtemplate.unreadable_relations()
             WHERE id NOT IN (SELECT id FROM pgtemplate.compared_relation)
             UNION ALL
            SELECT 'large object ' || id FROM pgtemplate.large_object WHERE data IS NULL) AS found (name)
$$;
