-- Put the baseline back, for a role that may not set session_replication_role.
-- TRUNCATE takes the dirty tables together with all that refer to them, so no foreign key is asked
-- on the way out; one statement puts all rows in, so foreign keys are asked at its end, cycles and
-- all. Triggers and forced policies of the user's rest meanwhile.
CREATE FUNCTION pgtemplate.restore(dirty oid[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    closure oid[];
    names   text;
    refills text;
    rest    text;
    wake    text;
BEGIN
    WITH RECURSIVE reach (id) AS (
        SELECT unnest(dirty)
        UNION
        SELECT c.conrelid FROM reach JOIN pg_constraint c ON c.confrelid = reach.id
         WHERE c.contype = 'f'
    )
    SELECT array_agg(r.id),
           string_agg('ONLY ' || r.name, ', '),
           string_agg(format('refill_%s AS (%s)', r.id, r.refill), ', ')
      INTO closure, names, refills
      FROM reach JOIN pgtemplate.relation r USING (id);

    SELECT string_agg(off, '; '), string_agg(on_again, '; ')
      INTO rest, wake
      FROM (SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', r.name, t.tgname),
                   format('ALTER TABLE %s ENABLE %s TRIGGER %I', r.name,
                          CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE '' END, t.tgname)
              FROM pg_trigger t JOIN pgtemplate.relation r ON r.id = t.tgrelid
             WHERE t.tgrelid = ANY (closure) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
             UNION ALL
            SELECT format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', r.name),
                   format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', r.name)
              FROM pg_class c JOIN pgtemplate.relation r ON r.id = c.oid
             WHERE c.oid = ANY (closure) AND c.relforcerowsecurity) AS command (off, on_again);

    IF rest IS NOT NULL THEN EXECUTE rest; END IF;
    IF names IS NOT NULL THEN EXECUTE 'TRUNCATE ' || names; END IF;
    IF refills IS NOT NULL THEN EXECUTE 'WITH ' || refills || ' SELECT'; END IF;
    IF wake IS NOT NULL THEN EXECUTE wake; END IF;

    PERFORM setval(id::regclass, last_value, is_called) FROM pgtemplate.moved(dirty);
    PERFORM pgtemplate.restore_large_objects();
END
$$;
