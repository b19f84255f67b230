-- The definitions of tables, views and sequences. objects.sql describes the columns.
CREATE OR REPLACE FUNCTION pg_temp.pgtemplate_relations(wanted oid[])
RETURNS TABLE (class oid, object oid, part int, relation oid, schema oid, definition text)
LANGUAGE sql STABLE AS $$
    SELECT c.tableoid, c.oid, 0,
           coalesce((SELECT d.refobjid FROM pg_depend d  -- what a sequence is owned by
                      WHERE c.relkind = 'S' AND d.classid = c.tableoid AND d.objid = c.oid
                        AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')), 0),
           c.relnamespace, concat_ws(' ',
               CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED' END,
               CASE WHEN c.reloftype <> 0 THEN 'OF ' || c.reloftype::regtype END,
               (SELECT 'INHERITS ' || string_agg(i.inhparent::regclass::text, ', '
                                                 ORDER BY i.inhseqno)
                  FROM pg_inherits i WHERE i.inhrelid = c.oid),
               pg_get_expr(c.relpartbound, c.oid),
               CASE c.relkind WHEN 'p' THEN 'PARTITION BY ' || pg_get_partkeydef(c.oid) END,
               (SELECT concat_ws(' ', 'SERVER', s.srvname, f.ftoptions::text)
                  FROM pg_foreign_table f JOIN pg_foreign_server s ON s.oid = f.ftserver
                 WHERE f.ftrelid = c.oid),
               (SELECT 'USING ' || a.amname FROM pg_am a
                 WHERE a.oid = c.relam AND c.relkind IN ('r', 'm')),
               'WITH ' || c.reloptions::text,
               (SELECT 'WITH toast ' || t.reloptions::text FROM pg_class t
                 WHERE t.oid = c.reltoastrelid AND t.reloptions IS NOT NULL),
               (SELECT 'TABLESPACE ' || t.spcname FROM pg_tablespace t
                 WHERE t.oid = c.reltablespace),
               CASE WHEN c.relrowsecurity THEN 'ROW LEVEL SECURITY' END,
               CASE WHEN c.relforcerowsecurity THEN 'FORCE ROW LEVEL SECURITY' END,
               CASE WHEN c.relkind IN ('r', 'p') AND c.relreplident <> 'd'
                    THEN 'REPLICA IDENTITY ' || c.relreplident::text END,
               CASE c.relkind WHEN 'm' THEN 'populated ' || c.relispopulated END,
               (SELECT concat_ws(' ', 'AS', s.seqtypid::regtype, 'START', s.seqstart,
                                 'INCREMENT', s.seqincrement, 'MINVALUE', s.seqmin,
                                 'MAXVALUE', s.seqmax, 'CACHE', s.seqcache,
                                 CASE WHEN s.seqcycle THEN 'CYCLE' END)
                  FROM pg_sequence s WHERE s.seqrelid = c.oid),
               (SELECT 'OWNED BY ' || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
                  FROM pg_depend d
                 WHERE c.relkind = 'S' AND d.classid = c.tableoid AND d.objid = c.oid
                   AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')),
               CASE WHEN c.relkind IN ('v', 'm') THEN 'AS' || chr(10) || pg_get_viewdef(c.oid) END,
               'OWNER ' || pg_get_userbyid(c.relowner),
               pg_temp.pgtemplate_privileges(
                   c.relacl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END, c.relowner))
      FROM pg_class c
     WHERE c.oid = ANY (wanted) AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'c', 'S')
$$;
