-- One reset is one call of this function. It returns how many tables it had to put back.
CREATE FUNCTION pgtemplate.reset() RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    dirty oid[] := pgtemplate.dirty();
BEGIN
    PERFORM pgtemplate.restore(dirty);
    RETURN cardinality(dirty);
END
$$;
