-- The session that resets acts as a replica: no foreign key is enforced, no cascade, and no trigger or
-- rule of the user's fires. So each table is a matter of its own.

CREATE FUNCTION pgtemplate.all_of(statements text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT array_to_string(statements, '; ') $$;

CREATE FUNCTION pgtemplate.reach(missing oid[]) RETURNS SETOF oid
LANGUAGE sql IMMUTABLE AS $$ SELECT 0::oid WHERE false $$;
