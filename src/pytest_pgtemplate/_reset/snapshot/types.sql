-- The definitions of types. Those of tables and of arrays are part of another object.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_types(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT t.tableoid, t.oid, 0, 0, t.typnamespace, concat_ws(' ',
               CASE t.typtype WHEN 'd' THEN 'DOMAIN' WHEN 'e' THEN 'ENUM' WHEN 'r' THEN 'RANGE'
                              ELSE 'BASE' END,
               (SELECT '(' || string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                       || ')'
                  FROM pg_enum e WHERE e.enumtypid = t.oid),
               (SELECT concat_ws(' ', r.rngsubtype::regtype, nullif(r.rngsubopc, 0)::text,
                                 nullif(r.rngcanonical, 0)::regproc,
                                 nullif(r.rngsubdiff, 0)::regproc)
                  FROM pg_range r WHERE r.rngtypid = t.oid),
               CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
               CASE t.typtype WHEN 'b' THEN concat_ws(' ', t.typinput, t.typoutput, t.typreceive,
                    t.typsend, t.typmodin, t.typmodout, t.typlen, t.typalign, t.typstorage,
                    t.typcategory, t.typispreferred, t.typdelim) END,
               CASE WHEN t.typnotnull THEN 'NOT NULL' END,
               'DEFAULT ' || t.typdefault,
               CASE WHEN t.typcollation NOT IN (0, 100)
                    THEN 'COLLATE ' || t.typcollation::regcollation END,
               'OWNER ' || pg_get_userbyid(t.typowner),
               pg_temp.pgtemplate_privileges(t.typacl, 'T', t.typowner))
      FROM pg_type t
     WHERE t.oid = ANY (wanted) AND t.typrelid = 0 AND t.typtype IN ('d', 'e', 'r', 'b')
       AND t.typcategory <> 'A'
$$;
