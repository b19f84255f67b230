-- Tracking by triggers: every statement that may write to a table leaves the table's oid in a log. The
-- log has no key and no index, so two writers never meet in it; it is unlogged, for it is worth
-- nothing after a crash. Who has a transaction open that wrote anything holds a lock on it: the lock
-- that a reset takes on it is the leak detector.
CREATE UNLOGGED TABLE pgtemplate.log (
    relation oid NOT NULL,      -- 0: the schema was changed
    inserted bigint             -- all add up to the rows inserted; NULL: it was no INSERT, or none knows
) WITH (autovacuum_enabled = off);  -- for which a reset would have to wait

-- SECURITY DEFINER: whoever may write to a table needs no right to the log.
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

-- BEFORE: so a statement that is still at work when its test has ended holds the lock, too. AFTER: so
-- that it is known how many rows an INSERT has made.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT r.name FROM pgtemplate.relation r LOOP
        EXECUTE format('CREATE TRIGGER pgtemplate BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.note_write()', name);
        EXECUTE format('CREATE TRIGGER pgtemplate_after AFTER INSERT
                        ON %s FOR EACH STATEMENT EXECUTE FUNCTION pgtemplate.note_write()', name);
        -- Also under session_replication_role = replica, which loaders set.
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER pgtemplate,
                                            ENABLE ALWAYS TRIGGER pgtemplate_after', name);
    END LOOP;
END
$$;

-- The tables written to since the last reset. Waits for transactions that are still open.
CREATE FUNCTION pgtemplate.written() RETURNS oid[]
LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE pgtemplate.log IN EXCLUSIVE MODE;
    RETURN ARRAY(SELECT DISTINCT relation FROM pgtemplate.log);
END
$$;

-- The tables into which rows were inserted and nothing else was done, and how many.
CREATE FUNCTION pgtemplate.inserted() RETURNS TABLE (id oid, count numeric)
LANGUAGE sql STABLE AS $$
    SELECT relation, sum(inserted) FROM pgtemplate.log
     GROUP BY relation HAVING bool_and(inserted IS NOT NULL)
$$;

-- Whether anything has been committed since a transaction. Does not wait.
CREATE FUNCTION pgtemplate.wrote_since(boundary xid) RETURNS boolean
LANGUAGE sql AS $$
    SELECT EXISTS (SELECT FROM pgtemplate.log WHERE relation <> 0 AND age(xmin) <= age(boundary))
$$;

-- TRUNCATE costs more than DELETE, but gives the space of dead rows back.
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
