-- Runs last: every later change of a catalog counts as a change of the schema.
INSERT INTO pgtemplate.schema_baseline SELECT pgtemplate.catalog_sums();
