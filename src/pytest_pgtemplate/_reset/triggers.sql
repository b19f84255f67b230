-- Tracking by triggers: every statement that may write to a table inserts the table's oid into a log. The
-- log has no key and no index, so concurrent writers never wait for each other. An open transaction that
-- wrote anything holds a lock on the log. So the lock that a reset takes on it detects leaks.
CREATE UNLOGGED TABLE pgtemplate.log (
    relation oid NOT NULL,      -- 0: the schema was changed
    inserted bigint             -- the sum is the number of inserted rows; NULL: not an INSERT, or unknown
) WITH (autovacuum_enabled = off);  -- a reset would wait for its lock

-- The next two functions run in the test's sessions. SECURITY DEFINER: a role that may write to a table
-- needs no privilege on the log. Every name is qualified, so no function of the user can replace one of
-- PostgreSQL's. Setting a search_path instead would more than double the cost for the test's statements.
CREATE FUNCTION pgtemplate.log_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO pgtemplate.log
    VALUES (TG_RELID, CASE WHEN TG_OP OPERATOR(pg_catalog.=) 'INSERT'
                            AND pg_catalog.current_setting('track_counts')::boolean
                           THEN 0 OPERATOR(pg_catalog.-)
                                pg_catalog.pg_stat_get_xact_tuples_inserted(TG_RELID) END);
    RETURN NULL;
END
$$;

CREATE FUNCTION pgtemplate.log_inserted_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO pgtemplate.log
    VALUES (TG_RELID, CASE WHEN pg_catalog.current_setting('track_counts')::boolean
                           THEN pg_catalog.pg_stat_get_xact_tuples_inserted(TG_RELID) END);
    RETURN NULL;
END
$$;

-- The BEFORE trigger makes a statement that still runs when its test ends hold the lock, too. The AFTER
-- trigger counts the rows of an INSERT.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT r.name FROM pgtemplate.relation r WHERE NOT is_scanned LOOP
        EXECUTE format('CREATE TRIGGER pgtemplate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.log_write()', name);
        EXECUTE format('CREATE TRIGGER pgtemplate_after AFTER INSERT
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.log_inserted_rows()', name);
        -- ALWAYS: also with session_replication_role = replica, which data loaders set.
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER pgtemplate,
                                            ENABLE ALWAYS TRIGGER pgtemplate_after', name);
    END LOOP;
END
$$;

-- The tables written to since the last reset. Waits for transactions that are still open. Tables that
-- this role may not create a trigger on are scanned. Of these, it may lock those that it may write to.
DO $do$
DECLARE
    locks  text;
    probes text;
    young  text;
BEGIN
    SELECT 'LOCK TABLE ' || string_agg('ONLY ' || name, ', ')
                            FILTER (WHERE has_table_privilege(id, 'UPDATE, DELETE, TRUNCATE')
                                      AND id = ANY (stored_in)) || ' IN SHARE MODE;',
           'UNION ' || string_agg(pgtemplate.scan_query(r), ' UNION '),
           string_agg(format(' OR EXISTS (SELECT FROM ONLY %s WHERE age(xmin) <= age($1))', name), '')
               FILTER (WHERE id = ANY (stored_in))
      INTO locks, probes, young
      FROM pgtemplate.relation r
     WHERE is_scanned;

    EXECUTE format('CREATE FUNCTION pgtemplate.written_tables() RETURNS oid[]
                    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS %L',
        format('BEGIN LOCK TABLE pgtemplate.log IN EXCLUSIVE MODE; %s %s
                      RETURN ARRAY(SELECT relation FROM pgtemplate.log %s); END',
               locks, pgtemplate.comparison(), coalesce(probes, 'GROUP BY relation')));
    -- Has a transaction younger than "boundary" committed a write? Does not wait.
    EXECUTE format('CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
                    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS %L',
        format('SELECT EXISTS (SELECT FROM pgtemplate.log WHERE relation <> 0 AND age(xmin) <= age($1))%s', young));
END
$do$;

-- The tables that only had INSERTs, and the number of inserted rows.
CREATE FUNCTION pgtemplate.inserted_counts() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql STABLE AS $$
    SELECT relation, sum(inserted) FROM pgtemplate.log
     GROUP BY relation HAVING bool_and(inserted IS NOT NULL)
$$;

-- Empties the log. TRUNCATE costs more than DELETE, but frees the space of dead rows.
CREATE FUNCTION pgtemplate.clear_log() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_relation_size('pgtemplate.log') > 65536 THEN
        TRUNCATE pgtemplate.log;
    ELSE
        DELETE FROM pgtemplate.log;
    END IF;
END
$$;
