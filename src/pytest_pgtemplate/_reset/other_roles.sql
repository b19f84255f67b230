-- Tables and sequences that this role may read only after SET ROLE, because it does not inherit the privileges
-- of the other role. A reset does not restore them. It raises an error if they differ: then the database needs
-- a new clone.
CREATE UNLOGGED TABLE pgtemplate.compared_relation (
    id    oid  PRIMARY KEY,
    name  text NOT NULL,
    role  name NOT NULL,
    query text NOT NULL,
    state text NOT NULL     -- the result of the query in the template
);

-- The relations of the user that this role may not read itself. MATERIALIZED: the remaining conditions are
-- slow for thousands of relations.
CREATE FUNCTION pgtemplate.unreadable_relations()
RETURNS TABLE (id oid, name text, kind "char", owner oid, namespace oid)
LANGUAGE sql STABLE AS $$
    WITH unknown AS MATERIALIZED (
        SELECT c AS relation, c.* FROM pg_class c
         WHERE c.relpersistence <> 't'
           AND CASE WHEN c.relkind IN ('r', 'p', 'S') THEN
                    c.oid NOT IN (SELECT r.id FROM pgtemplate.relation r
                                   UNION ALL
                                  SELECT s.id FROM pgtemplate.sequence s)
               ELSE c.relkind = 'm' AND NOT (has_schema_privilege(c.relnamespace, 'USAGE')
                                             AND has_table_privilege(c.oid, 'SELECT')) END
    )
    SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.relkind, c.relowner, n.oid
      FROM unknown c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE pgtemplate.is_user_object(relation)
       AND NOT EXISTS (SELECT FROM pg_depend
                        WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
$$;

CREATE FUNCTION pgtemplate.evaluate_as(role name, query text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    previous CONSTANT text := current_setting('role');
    result   text;
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE query INTO result;
    PERFORM set_config('role', previous, true);
    RETURN result;
END
$$;

INSERT INTO pgtemplate.compared_relation
SELECT * FROM (
    SELECT u.id, u.name, reader.rolname, query, pgtemplate.evaluate_as(reader.rolname, query) AS state
      FROM pgtemplate.unreadable_relations() AS u
     CROSS JOIN LATERAL (
         SELECT rolname FROM pg_roles
          WHERE pg_has_role(session_user, oid, CASE WHEN current_setting('server_version_num')::int >= 160000
                                               THEN 'SET' ELSE 'MEMBER' END)
            AND has_schema_privilege(oid, u.namespace, 'USAGE')
            AND CASE u.kind WHEN 'S' THEN has_sequence_privilege(oid, u.id, 'SELECT')
                ELSE has_table_privilege(oid, u.id, 'SELECT') END
          ORDER BY oid <> u.owner LIMIT 1) AS reader
     CROSS JOIN LATERAL format(
         CASE u.kind WHEN 'S' THEN 'SELECT concat_ws('' '', last_value, is_called) FROM %1$s'
         ELSE 'SELECT CASE WHEN NOT row_security_active(%2$s) THEN
                      concat_ws('' '', count(*), count(*) FILTER (WHERE age(xmin) <= age(%3$L::xid))) END
                 FROM ONLY %1$s' END, u.name, u.id, pg_current_xact_id()::xid) AS query
     ) AS readable
 WHERE state IS NOT NULL;

CREATE FUNCTION pgtemplate.compare_relations() RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    changed CONSTANT text := (SELECT string_agg(name, ', ' ORDER BY name) FROM pgtemplate.compared_relation
                               WHERE pgtemplate.evaluate_as(role, query) IS DISTINCT FROM state);
BEGIN
    IF changed IS NOT NULL THEN
        RAISE 'no reset restores %, which this role may read only after SET ROLE', changed
            USING HINT = 'a fixture cannot share such rows; grant the privileges to this role';
    END IF;
END
$$;

-- Returns what written_tables() does first; NULL if there is nothing to compare.
CREATE FUNCTION pgtemplate.comparison() RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT 'PERFORM pgtemplate.compare_relations();'
     WHERE EXISTS (SELECT FROM pgtemplate.compared_relation)
$$;
