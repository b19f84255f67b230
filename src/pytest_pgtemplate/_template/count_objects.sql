-- The number of objects that migrations may create, those of PostgreSQL included.
SELECT (SELECT count(*) FROM pg_class)
     + (SELECT count(*) FROM pg_proc)
     + (SELECT count(*) FROM pg_type)
     + (SELECT count(*) FROM pg_namespace)
     + (SELECT count(*) FROM pg_extension);
