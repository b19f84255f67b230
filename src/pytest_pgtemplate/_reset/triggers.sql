-- Tracking by triggers: every statement that may write to a table inserts the table's oid into a log. The
-- log has no key and no index, so concurrent writers never wait for each other. An open transaction that
-- wrote anything holds a lock on the log. So the lock that a reset takes on it detects leaks.
CREATE UNLOGGED TABLE pgtemplate.log (
    relation oid NOT NULL,      -- 0: the schema was changed
    inserted bigint             -- the sum is the number of inserted rows; NULL: not an INSERT, or unknown
) WITH (autovacuum_enabled = off);  -- a reset would wait for its lock

-- SECURITY DEFINER: the role that writes to a table needs no privilege on the log.
CREATE FUNCTION pgtemplate.note_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    inserted bigint;
BEGIN
    IF TG_OP = 'INSERT' AND current_setting('track_counts')::boolean THEN
        inserted := pg_stat_get_xact_tuples_inserted(TG_RELID);
        IF TG_WHEN = 'BEFORE' THEN
            inserted := -inserted;
        END IF;
    END IF;
    INSERT INTO pgtemplate.log VALUES (TG_RELID, inserted);
    RETURN NULL;
END
$$;

-- BEFORE, so that a statement that still runs when its test ends holds the lock, too. AFTER, to count the
-- rows of an INSERT.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT r.name FROM pgtemplate.relation r LOOP
        EXECUTE format('CREATE TRIGGER pgtemplate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.note_write()', name);
        EXECUTE format('CREATE TRIGGER pgtemplate_after AFTER INSERT
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.note_write()', name);
        -- ALWAYS: also in sessions with session_replication_role = replica, as bulk loaders set it.
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER pgtemplate,
                                            ENABLE ALWAYS TRIGGER pgtemplate_after', name);
    END LOOP;
END
$$;

-- The tables written to since the last reset. Waits for open transactions that have written.
CREATE FUNCTION pgtemplate.written() RETURNS oid[]
LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE pgtemplate.log IN EXCLUSIVE MODE;
    RETURN ARRAY(SELECT DISTINCT relation FROM pgtemplate.log);
END
$$;

-- The tables with INSERTs only, and the number of inserted rows.
CREATE FUNCTION pgtemplate.inserted() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql STABLE AS $$
    SELECT relation, sum(inserted) FROM pgtemplate.log
     GROUP BY relation HAVING bool_and(inserted IS NOT NULL)
$$;

-- Has a transaction younger than "boundary" committed a write? Does not wait.
CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM pgtemplate.log WHERE relation <> 0 AND age(xmin) <= age(boundary))
$$;

-- Empties the log. TRUNCATE costs more than DELETE, but frees the space of dead rows.
CREATE FUNCTION pgtemplate.forget() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF pg_relation_size('pgtemplate.log') > 65536 THEN
        TRUNCATE pgtemplate.log;
    ELSE
        DELETE FROM pgtemplate.log;
    END IF;
END
$$;
