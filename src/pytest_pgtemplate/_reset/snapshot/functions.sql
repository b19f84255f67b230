-- The definitions of functions, and of what consists of functions: operators, their classes and families,
-- conversions and casts.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_functions(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT p.tableoid, p.oid, 0, 0, p.pronamespace, concat_ws(' ',
               CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
               (SELECT concat_ws(' ', 'AGGREGATE', a.aggkind, a.aggtransfn, a.aggfinalfn,
                                 a.aggcombinefn, a.aggtranstype::regtype, a.agginitval,
                                 nullif(a.aggsortop, 0)::regoperator)
                  FROM pg_aggregate a WHERE a.aggfnoid = p.oid),
               'OWNER ' || pg_get_userbyid(p.proowner),
               pg_temp.pgtemplate_privileges(p.proacl, 'f', p.proowner))
      FROM pg_proc p
     WHERE p.oid = ANY (wanted)
     UNION ALL
    SELECT o.tableoid, o.oid, 0, 0, o.oprnamespace, concat_ws(' ',
               o.oprcode, nullif(o.oprcom, 0)::regoperator, nullif(o.oprnegate, 0)::regoperator,
               o.oprrest, o.oprjoin, o.oprcanmerge, o.oprcanhash,
               'OWNER ' || pg_get_userbyid(o.oprowner))
      FROM pg_operator o
     WHERE o.oid = ANY (wanted)
     UNION ALL
    SELECT o.tableoid, o.oid, 0, 0, o.opcnamespace, concat_ws(' ',
               o.opcintype::regtype, CASE WHEN o.opcdefault THEN 'DEFAULT' END,
               nullif(o.opckeytype, 0)::regtype,
               pg_describe_object('pg_opfamily'::regclass, o.opcfamily, 0),
               'OWNER ' || pg_get_userbyid(o.opcowner))
      FROM pg_opclass o
     WHERE o.oid = ANY (wanted)
     UNION ALL
    SELECT f.tableoid, f.oid, 0, 0, f.opfnamespace, concat_ws(' ',
               (SELECT string_agg(pg_describe_object(a.tableoid, a.oid, 0), ', '
                                  ORDER BY pg_describe_object(a.tableoid, a.oid, 0))
                  FROM pg_amop a WHERE a.amopfamily = f.oid),
               (SELECT string_agg(pg_describe_object(a.tableoid, a.oid, 0), ', '
                                  ORDER BY pg_describe_object(a.tableoid, a.oid, 0))
                  FROM pg_amproc a WHERE a.amprocfamily = f.oid),
               'OWNER ' || pg_get_userbyid(f.opfowner))
      FROM pg_opfamily f
     WHERE f.oid = ANY (wanted)
     UNION ALL
    SELECT v.tableoid, v.oid, 0, 0, v.connamespace, concat_ws(' ',
               pg_encoding_to_char(v.conforencoding), 'TO', pg_encoding_to_char(v.contoencoding),
               v.conproc, v.condefault, 'OWNER ' || pg_get_userbyid(v.conowner))
      FROM pg_conversion v
     WHERE v.oid = ANY (wanted)
     UNION ALL
    SELECT c.tableoid, c.oid, 0, 0, NULL, concat_ws(' ',
               nullif(c.castfunc, 0)::regprocedure, c.castcontext, c.castmethod)
      FROM pg_cast c
     WHERE c.oid = ANY (wanted)
$$;
