-- The definitions of what belongs to a table: indexes, constraints, triggers, rules, policies, statistics.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_table_parts(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT c.tableoid, c.oid, 0, i.indrelid, c.relnamespace, concat_ws(' ',
               pg_get_indexdef(c.oid),
               CASE WHEN i.indisclustered THEN 'CLUSTER' END,
               CASE WHEN i.indisreplident THEN 'REPLICA IDENTITY' END,
               CASE WHEN NOT i.indisvalid THEN 'INVALID' END)
      FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
     WHERE c.oid = ANY (wanted)
       AND NOT EXISTS (SELECT FROM pg_constraint o
                        WHERE o.conindid = c.oid AND o.contype IN ('p', 'u', 'x'))
     UNION ALL  -- NOT NULL is part of the column
    SELECT o.tableoid, o.oid, 0, o.conrelid, o.connamespace, concat_ws(' ',
               pg_get_constraintdef(o.oid),
               CASE WHEN NOT o.conislocal THEN 'inherited' END)
      FROM pg_constraint o
     WHERE o.oid = ANY (wanted) AND o.contype NOT IN ('n', 't') AND o.conparentid = 0
     UNION ALL
    SELECT t.tableoid, t.oid, 0, t.tgrelid, c.relnamespace,
           pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLED'
                                                        ELSE ' ENABLED ' || t.tgenabled::text END
      FROM pg_trigger t
      JOIN pg_class c ON c.oid = t.tgrelid
      JOIN pg_proc p ON p.oid = t.tgfoid
     WHERE t.oid = ANY (wanted) AND NOT t.tgisinternal
       AND p.pronamespace IS DISTINCT FROM to_regnamespace('pgtemplate')
     UNION ALL
    SELECT r.tableoid, r.oid, 0, r.ev_class, c.relnamespace,
           pg_get_ruledef(r.oid) || CASE r.ev_enabled WHEN 'O' THEN ''
                                                      ELSE ' ENABLED ' || r.ev_enabled::text END
      FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
     WHERE r.oid = ANY (wanted) AND r.rulename <> '_RETURN'
     UNION ALL
    SELECT p.tableoid, p.oid, 0, p.polrelid, c.relnamespace, concat_ws(' ',
               CASE WHEN NOT p.polpermissive THEN 'RESTRICTIVE' END,
               'FOR', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                                    WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
               'TO', (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC'
                                        ELSE pg_get_userbyid(role)::text END, ', ' ORDER BY role)
                        FROM unnest(p.polroles) AS role),
               'USING ' || pg_get_expr(p.polqual, p.polrelid),
               'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
      FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
     WHERE p.oid = ANY (wanted)
     UNION ALL
    SELECT s.tableoid, s.oid, 0, s.stxrelid, s.stxnamespace, concat_ws(' ',
               pg_get_statisticsobjdef(s.oid),
               'STATISTICS ' || nullif(s.stxstattarget, -1),
               'OWNER ' || pg_get_userbyid(s.stxowner))
      FROM pg_statistic_ext s
     WHERE s.oid = ANY (wanted)
$$;
