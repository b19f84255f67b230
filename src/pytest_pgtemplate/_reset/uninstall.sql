-- Removes everything that "install" added; CASCADE drops the triggers on the user's tables. The event
-- triggers come first: otherwise they would write to the log while it is dropped.
DROP EVENT TRIGGER IF EXISTS pgtemplate_ddl;
DROP EVENT TRIGGER IF EXISTS pgtemplate_drop;
DROP EVENT TRIGGER IF EXISTS pgtemplate_start;
DROP SCHEMA IF EXISTS pgtemplate CASCADE;
