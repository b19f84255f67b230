-- Returns a pair of layers, or NULL: one of "above" that depends on one of "below", so that the second cannot
-- be removed before the first. The first has changed a row of the second, refers to one by a foreign key, or
-- has a row with the unique key of a row that the second deleted. Other dependencies cannot be detected.
CREATE FUNCTION pgtemplate.find_dependency(below int[], above int[]) RETURNS int[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dependency int[] := (SELECT ARRAY[replaced_by, layer] FROM pgtemplate.baseline
                         WHERE layer > 0 AND layer = ANY (below)
                           AND replaced_by IS NOT NULL AND replaced_by = ANY (above)
                         UNION ALL
                        SELECT ARRAY[replaced_by, layer] FROM pgtemplate.large_object
                         WHERE layer = ANY (below) AND replaced_by = ANY (above)
                         LIMIT 1);
    query     text;
BEGIN
    FOR query IN SELECT * FROM pgtemplate.reference_queries(below, above)
                  UNION ALL
                 SELECT * FROM pgtemplate.conflict_queries(below, above)
    LOOP
        EXIT WHEN dependency IS NOT NULL;
        dependency := pgtemplate.evaluate(query);
    END LOOP;
    RETURN dependency;
END
$$;

-- Returns a query for the rows of a table that layers wrote or replaced. "which": the column with the layer.
CREATE FUNCTION pgtemplate.layer_rows_query(id oid, condition text, which text, layers int[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT format('SELECT layer, replaced_by, row_text::%s AS r FROM pgtemplate.baseline
                    WHERE relation = %s AND %s AND %s = ANY (%L)',
                  id::regclass, id, condition, which, layers)
$$;

-- Returns a query for each foreign key, which finds a row of a layer above that refers to a row of a layer
-- below. It ignores rows below that replaced a row with the same key, which a reset restores. The operators
-- are those of the foreign key: for a PERIOD, the last one is not "=".
CREATE FUNCTION pgtemplate.reference_queries(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), b AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, b.layer] FROM a JOIN b ON %s
                 WHERE NOT EXISTS (SELECT FROM c WHERE %s) LIMIT 1',
               pgtemplate.layer_rows_query(conrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', above),
               pgtemplate.layer_rows_query(confrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', below),
               pgtemplate.layer_rows_query(confrelid, 'replaced_by IS NOT NULL', 'replaced_by', below),
               string_agg(format('(b.r).%I %s OPERATOR(%I.%s) (a.r).%I', t.attname,
                                 'COLLATE ' || c_of_target.name, o.nspname, pf.oprname, f.attname), ' AND '),
               string_agg(format('(b.r).%1$I OPERATOR(%2$I.%3$s) (c.r).%1$I', t.attname,
                                 p.nspname, pp.oprname), ' AND '))
      FROM pg_constraint c
     CROSS JOIN unnest(conkey, confkey, conpfeqop, conppeqop) AS columns (from_, to_, pfeqop, ppeqop)
      JOIN pg_attribute f ON f.attrelid = conrelid AND f.attnum = from_
      JOIN pg_attribute t ON t.attrelid = confrelid AND t.attnum = to_
      JOIN pg_operator pf ON pf.oid = pfeqop JOIN pg_namespace o ON o.oid = pf.oprnamespace
      JOIN pg_operator pp ON pp.oid = ppeqop JOIN pg_namespace p ON p.oid = pp.oprnamespace
      LEFT JOIN LATERAL (SELECT format('%I.%I', nspname, collname)
                           FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
                          WHERE l.oid = t.attcollation) AS c_of_target (name) ON true
     WHERE contype = 'f'
       AND conrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (above))
       AND confrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (below))
     GROUP BY c.oid, conrelid, confrelid
$$;

-- Returns a query for each unique index on plain columns and for each exclusion constraint. It finds a row of
-- a layer above that conflicts with a row that a layer below replaced: a reset would insert that row again.
CREATE FUNCTION pgtemplate.conflict_queries(below int[], above int[]) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT format(
               'WITH a AS (%s), c AS (%s)
                SELECT ARRAY[a.layer, c.replaced_by] FROM a JOIN c ON %s LIMIT 1',
               pgtemplate.layer_rows_query(indrelid, 'layer > 0 AND replaced_by IS NULL', 'layer', above),
               pgtemplate.layer_rows_query(indrelid, format('layer <> ALL (%L)', below), 'replaced_by', below),
               string_agg(format('(a.r).%1$I OPERATOR(%2$I.%3$s) (c.r).%1$I',
                                 attname, nspname, oprname), ' AND '))
      FROM pg_index
     CROSS JOIN unnest(indkey, indclass) WITH ORDINALITY AS key (attnum, class, n)
      JOIN pg_attribute a ON a.attrelid = indrelid AND a.attnum = key.attnum
      JOIN pg_opclass ON pg_opclass.oid = class
      LEFT JOIN pg_constraint c ON conindid = indexrelid AND conexclop IS NOT NULL
      LEFT JOIN pg_amop equal ON amopfamily = opcfamily AND amopstrategy = 3
                             AND amoplefttype = opcintype AND amoprighttype = opcintype
      JOIN pg_operator o ON o.oid = coalesce(conexclop[n], amopopr)
      JOIN pg_namespace s ON s.oid = oprnamespace
     WHERE (indisunique OR indisexclusion) AND n <= indnkeyatts AND indexprs IS NULL AND indpred IS NULL
       AND indrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (above))
       AND indrelid IN (SELECT relation FROM pgtemplate.layer_relation WHERE layer = ANY (below))
     GROUP BY indexrelid, indrelid
$$;
