-- What a superuser owns in a database of the role under test. Only where that role is a plain one are
-- these another role's.

CREATE TABLE ledger (id int PRIMARY KEY, amount int);
INSERT INTO ledger VALUES (1, 10);
GRANT SELECT ON ledger TO PUBLIC;
CREATE FUNCTION book(int, int) RETURNS void LANGUAGE sql SECURITY DEFINER
    AS 'INSERT INTO public.ledger VALUES ($1, $2)';
CREATE FUNCTION rebook(int, int) RETURNS void LANGUAGE sql SECURITY DEFINER
    AS 'UPDATE public.ledger SET amount = $2 WHERE id = $1';
CREATE TABLE hidden (id int PRIMARY KEY);
CREATE FUNCTION hide(int) RETURNS void LANGUAGE sql SECURITY DEFINER
    AS 'INSERT INTO public.hidden VALUES ($1)';
CREATE TABLE granted (id int PRIMARY KEY, n int);
INSERT INTO granted VALUES (1, 1);
GRANT SELECT, INSERT, UPDATE, DELETE ON granted TO PUBLIC;
CREATE TABLE inserted_only (id int PRIMARY KEY);
GRANT SELECT, INSERT ON inserted_only TO PUBLIC;
CREATE TABLE inserted_blind (id int PRIMARY KEY);
GRANT INSERT ON inserted_blind TO PUBLIC;
CREATE SEQUENCE usable;
GRANT USAGE ON SEQUENCE usable TO PUBLIC;
CREATE SEQUENCE updatable;
GRANT UPDATE ON SEQUENCE updatable TO PUBLIC;

-- What only a superuser creates: event triggers, and a server that every role may map itself to.

CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER theirs ON ddl_command_end EXECUTE FUNCTION noted();
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
GRANT USAGE ON FOREIGN SERVER nowhere TO PUBLIC;
