-- Take out what a template has of ours; the triggers on the user's tables go with their function. The
-- event triggers go first: they would note the rest in a log that is no more.
DROP EVENT TRIGGER IF EXISTS pgtemplate_ddl;
DROP EVENT TRIGGER IF EXISTS pgtemplate_drop;
DROP SCHEMA IF EXISTS pgtemplate CASCADE;
