-- Last of all: from here on every change of a catalog counts.
INSERT INTO pgtemplate.schema_baseline SELECT pgtemplate.catalogs();
