-- A change of the schema, for a role that may not create event triggers: look into the catalogs.
-- Most rows of a catalog are only ever written by DDL: there it is enough that none is newer than
-- the baseline and none has gone. Temporary objects are not part of the schema. pg_class and
-- pg_trigger are also written by a reset (TRUNCATE, DISABLE TRIGGER): there contents are compared.
CREATE FUNCTION pgtemplate.catalog(since xid) RETURNS bigint[]
LANGUAGE sql AS $$
    SELECT ARRAY[
        (SELECT count(*) FROM pg_attribute  WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          WHERE age(a.xmin) < age(since) AND c.relpersistence <> 't'
            AND c.relkind IN ('r', 'p', 'v', 'm', 'c', 'f')),
        (SELECT count(*) FROM pg_attrdef    WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_constraint WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_index      WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE age(i.xmin) < age(since) AND c.relpersistence <> 't'),
        (SELECT count(*) FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.conrelid
          WHERE age(k.xmin) < age(since) AND c.relpersistence IS DISTINCT FROM 't'),
        (SELECT count(*) FROM pg_type       WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
          WHERE age(t.xmin) < age(since) AND n.nspname NOT LIKE 'pg\_temp\_%'
            AND n.nspname NOT LIKE 'pg\_toast%'),
        (SELECT count(*) FROM pg_proc       WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
          WHERE age(p.xmin) < age(since) AND n.nspname NOT LIKE 'pg\_temp\_%'),
        (SELECT count(*) FROM pg_namespace  WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_namespace  WHERE age(xmin) < age(since)
            AND nspname NOT LIKE 'pg\_temp\_%' AND nspname NOT LIKE 'pg\_toast\_temp\_%'),
        (SELECT count(*) FROM pg_enum       WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_enum       WHERE age(xmin) < age(since)),
        (SELECT count(*) FROM pg_policy     WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_policy     WHERE age(xmin) < age(since)),
        (SELECT count(*) FROM pg_rewrite    WHERE age(xmin) >= age(since)),
        (SELECT count(*) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
          WHERE age(r.xmin) < age(since) AND c.relpersistence <> 't'),
        (SELECT coalesce(sum(hashtext(format('%s %s %s %s %s %s %s %s %s %s %s', oid, relname,
                    relnamespace, relowner, relhasrules, relrowsecurity, relforcerowsecurity,
                    reloptions, relacl, relpersistence,
                    CASE relkind WHEN 'm' THEN relfilenode END))), 0)
           FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't'),
        (SELECT coalesce(sum(hashtext(format('%s %s %s', tgrelid, tgname, tgenabled))), 0)
           FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid AND c.relpersistence <> 't')
    ]
$$;

CREATE TABLE pgtemplate.schema_baseline (
    since   xid      NOT NULL,
    catalog bigint[] NOT NULL
);

CREATE FUNCTION pgtemplate.schema_changed(written oid[]) RETURNS boolean
LANGUAGE sql AS $$
    SELECT pgtemplate.catalog(since) <> catalog FROM pgtemplate.schema_baseline
$$;
