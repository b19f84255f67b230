-- For sessions with session_replication_role = replica: foreign keys are not enforced and do not cascade,
-- and no trigger or rule of the user fires. So each table can be restored independently. Functions with the
-- same names are in foreign_keys_enforced.sql.

CREATE FUNCTION pgtemplate.combine_statements(statements text[]) RETURNS text
LANGUAGE sql STABLE AS $$ SELECT array_to_string(statements, '; ') $$;

CREATE FUNCTION pgtemplate.tables_to_empty(missing oid[]) RETURNS SETOF oid
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid WHERE false $$;

CREATE FUNCTION pgtemplate.check_orphans(dirty oid[]) RETURNS void
LANGUAGE sql IMMUTABLE AS '';
