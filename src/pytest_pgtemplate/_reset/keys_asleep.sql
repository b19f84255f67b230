-- For sessions with session_replication_role = replica: foreign keys are not enforced, nothing cascades,
-- and no trigger or rule of the user fires. So each table can be restored independently.

CREATE FUNCTION pgtemplate.all_of(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT array_to_string(statements, '; ') $$;

CREATE FUNCTION pgtemplate.reach(missing oid[]) RETURNS SETOF oid
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid WHERE false $$;

CREATE FUNCTION pgtemplate.check_orphans(dirty oid[]) RETURNS void
LANGUAGE sql IMMUTABLE AS '';
