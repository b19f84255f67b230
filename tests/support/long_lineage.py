"""A lineage with every kind of operation that Alembic has, and planted faults.

Each revision has a name, an upgrade and a downgrade, or None if it has none. The names of those
with a fault begin with ``bad_``. Nothing here is a test.
"""

from __future__ import annotations

from typing import NamedTuple

from support.programs import load_program


class Revision(NamedTuple):
    """The arguments of ``Project.revision``, without those that the position gives."""

    name: str
    up: str
    down: str | None


def sql(*statements: str) -> str:
    """Each statement on its own."""
    return "\n".join(f"op.execute({each!r})" for each in statements)


def outside(*statements: str) -> str:
    """Statements outside of a transaction."""
    lines = "\n".join(f"    op.execute({each!r})" for each in statements)
    return f"with op.get_context().autocommit_block():\n{lines}"


ENUM = 'sa.Enum("new", "used", name="{}")'
FUNCTION = "CREATE OR REPLACE FUNCTION {}() RETURNS int LANGUAGE sql AS 'SELECT {}'"
TRIGGER = "CREATE TRIGGER {0} BEFORE INSERT ON book FOR EACH ROW EXECUTE FUNCTION touch()"

GENERATED_COLUMN = 'sa.Column("twice", sa.Integer, sa.Computed("pages * 2", persisted=True))'

TRUNK = [
    Revision(
        "tables",
        load_program("long_lineage/trunk.py"),
        'for name in ("note", "book", "author"):\n    op.drop_table(name)',
    ),
    Revision(
        "bulk_insert",
        """
        author = sa.table("author", sa.column("id"), sa.column("name"))
        op.bulk_insert(author, [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
        op.execute("INSERT INTO book VALUES (1, 1, 'first', 2, 100), (2, 2, 'second', 3, 200)")
        """,
        sql("DELETE FROM book", "DELETE FROM author"),
    ),
    Revision(
        "bad_rows",
        sql("DELETE FROM book WHERE id = 2"),
        sql("INSERT INTO book VALUES (2, 2, 'second', 3, 201)"),
    ),
    Revision(
        "update",
        sql("UPDATE author SET name = upper(name)"),
        sql("UPDATE author SET name = lower(name)"),
    ),
    Revision(
        "bad_update",
        sql("UPDATE book SET pages = pages + 1"),
        sql("UPDATE book SET pages = pages - 2"),
    ),
    Revision(
        "add_column",
        'op.add_column("book", sa.Column("isbn", sa.String(13)))',
        'op.drop_column("book", "isbn")',
    ),
    Revision(
        "add_column_with_default",
        'op.add_column("book", sa.Column("stock", sa.Integer, server_default="0", nullable=False))',
        'op.drop_column("book", "stock")',
    ),
    Revision(
        "add_identity",
        'op.add_column("book", sa.Column("number", sa.BigInteger, sa.Identity(always=True)))',
        'op.drop_column("book", "number")',
    ),
    Revision(
        "add_generated",
        f'op.add_column("book", {GENERATED_COLUMN})',
        'op.drop_column("book", "twice")',
    ),
    Revision(
        "drop_column",
        'op.drop_column("book", "twice")',
        f'op.add_column("book", {GENERATED_COLUMN})',
    ),
    Revision(
        "bad_drop_column",
        'op.drop_column("note", "body")',
        'op.add_column("note", sa.Column("body", sa.Text))',
    ),
    Revision(
        "rename_column",
        'op.alter_column("book", "isbn", new_column_name="code")',
        'op.alter_column("book", "code", new_column_name="isbn")',
    ),
    Revision(
        "bad_rename_column",
        'op.alter_column("book", "code", new_column_name="isbn")',
        'op.alter_column("book", "isbn", new_column_name="ean")',
    ),
    Revision(
        "nullable",
        'op.alter_column("book", "title", nullable=False)',
        'op.alter_column("book", "title", nullable=True)',
    ),
    Revision(
        "bad_nullable",
        'op.alter_column("book", "pages", nullable=True)',
        "pass",
    ),
    Revision(
        "type",
        'op.alter_column("book", "stock", type_=sa.BigInteger)',
        'op.alter_column("book", "stock", type_=sa.Integer)',
    ),
    Revision(
        "type_using",
        'op.alter_column("note", "n", type_=sa.Text, postgresql_using="n::text")',
        'op.alter_column("note", "n", type_=sa.Integer, postgresql_using="n::integer")',
    ),
    Revision(
        "bad_type",
        'op.alter_column("book", "title", type_=sa.String(80))',
        'op.alter_column("book", "title", type_=sa.String(60))',
    ),
    Revision(
        "server_default",
        'op.alter_column("book", "price", server_default="2.50")',
        'op.alter_column("book", "price", server_default="1.50")',
    ),
    Revision(
        "bad_server_default",
        'op.alter_column("book", "price", server_default=None)',
        'op.alter_column("book", "price", server_default="0")',
    ),
    Revision(
        "comment",
        'op.alter_column("book", "title", comment="as printed")',
        'op.alter_column("book", "title", comment=None)',
    ),
    Revision(
        "bad_comment",
        'op.alter_column("book", "pages", comment=None)',
        'op.alter_column("book", "pages", comment="with the cover")',
    ),
    Revision(
        "table_comment",
        'op.create_table_comment("author", "of books")',
        'op.drop_table_comment("author")',
    ),
    Revision(
        "rename_table", 'op.rename_table("note", "remark")', 'op.rename_table("remark", "note")'
    ),
    Revision(
        "index",
        'op.create_index("book_title", "book", ["title"])',
        'op.drop_index("book_title")',
    ),
    Revision(
        "index_of_expression",
        'op.create_index("author_lower", "author", [sa.text("lower(name)")], unique=True,'
        ' postgresql_where=sa.text("id > 0"))',
        'op.drop_index("author_lower")',
    ),
    Revision(
        "index_concurrently",
        """
        with op.get_context().autocommit_block():
            op.create_index("book_stock", "book", ["stock"], postgresql_concurrently=True)
        """,
        """
        with op.get_context().autocommit_block():
            op.drop_index("book_stock", postgresql_concurrently=True)
        """,
    ),
    Revision(
        "drop_index",
        'op.drop_index("book_title")',
        'op.create_index("book_title", "book", ["title"])',
    ),
    Revision(
        "bad_index",
        'op.create_index("book_pages", "book", ["pages"], if_not_exists=True)',
        "pass",
    ),
    Revision(
        "bad_index_concurrently",
        outside("CREATE INDEX CONCURRENTLY IF NOT EXISTS book_price ON book (price)"),
        outside("SELECT 1"),
    ),
    Revision(
        "unique",
        'op.create_unique_constraint("author_name", "author", ["name"])',
        'op.drop_constraint("author_name", "author")',
    ),
    Revision(
        "check",
        'op.create_check_constraint("positive", "book", "pages > 0")',
        'op.drop_constraint("positive", "book")',
    ),
    Revision(
        "drop_check",
        'op.drop_constraint("positive", "book")',
        'op.create_check_constraint("positive", "book", "pages > 0")',
    ),
    Revision(
        "foreign_key",
        'op.create_foreign_key("book_author", "book", "author", ["author_id"], ["id"],'
        ' ondelete="CASCADE", deferrable=True)',
        'op.drop_constraint("book_author", "book")',
    ),
    Revision(
        "bad_foreign_key",
        'op.drop_constraint("book_author", "book")',
        'op.create_foreign_key("book_author", "book", "author", ["author_id"], ["id"])',
    ),
    Revision(
        "primary_key",
        """
        op.alter_column("remark", "n", nullable=False)
        op.create_primary_key("remark_pkey", "remark", ["n"])
        """,
        """
        op.drop_constraint("remark_pkey", "remark")
        op.alter_column("remark", "n", nullable=True)
        """,
    ),
    Revision(
        "bad_primary_key",
        'op.create_table("keyless", sa.Column("a", sa.Integer), if_not_exists=True)\n'
        'op.create_primary_key("keyless_pkey", "keyless", ["a"])',
        'op.drop_constraint("keyless_pkey", "keyless")',
    ),
    Revision(
        "exclude",
        """
        op.execute("CREATE TABLE slot (during int4range)")
        op.create_exclude_constraint("no_overlap", "slot", ("during", "&&"), using="gist")
        """,
        'op.drop_constraint("no_overlap", "slot")\nop.drop_table("slot")',
    ),
    Revision(
        "enum",
        f'op.create_table("copy", sa.Column("state", {ENUM.format("state")}))',
        'op.drop_table("copy")\nop.execute("DROP TYPE state")',
    ),
    Revision(
        "rename_enum_value",
        sql("ALTER TYPE state RENAME VALUE 'used' TO 'worn'"),
        sql("ALTER TYPE state RENAME VALUE 'worn' TO 'used'"),
    ),
    Revision(
        "add_enum_value",
        outside("ALTER TYPE state ADD VALUE IF NOT EXISTS 'lost'"),
        'raise RuntimeError("no value of an enum can be dropped: irreversible")',
    ),
    Revision(
        "bad_enum_value",
        outside("ALTER TYPE state ADD VALUE IF NOT EXISTS 'sold'"),
        "pass",
    ),
    Revision(
        "bad_enum",
        f'op.create_table("offer", sa.Column("state", {ENUM.format("offer_state")}))',
        'op.drop_table("offer")',
    ),
    Revision(
        "drop_type",
        sql("DROP TABLE offer", "DROP TYPE offer_state"),
        sql(
            "CREATE TYPE offer_state AS ENUM ('new', 'used')",
            "CREATE TABLE offer (state offer_state)",
        ),
    ),
    # In one run of all revisions, SQLAlchemy would believe that the type is there: it creates each
    # type once. So only single steps, and a check, can upgrade to this revision.
    Revision(
        "enum_again",
        f'op.create_table("offer", sa.Column("state", {ENUM.format("offer_state")}))',
        'op.drop_table("offer")\nop.execute("DROP TYPE offer_state")',
    ),
    Revision(
        "replace_enum",
        sql(
            "ALTER TYPE state RENAME TO state_old",
            "CREATE TYPE state AS ENUM ('new', 'old')",
            "ALTER TABLE copy ALTER state TYPE state USING 'new'::state",
            "DROP TYPE state_old",
        ),
        sql(
            "ALTER TYPE state RENAME TO state_new",
            "CREATE TYPE state AS ENUM ('new', 'worn', 'lost', 'sold')",
            "ALTER TABLE copy ALTER state TYPE state USING 'new'::state",
            "DROP TYPE state_new",
        ),
    ),
    Revision(
        "sequence",
        'op.execute(sa.schema.CreateSequence(sa.Sequence("ticket", increment=5)))',
        'op.execute(sa.schema.DropSequence(sa.Sequence("ticket")))',
    ),
    Revision(
        "bad_sequence",
        sql("ALTER SEQUENCE ticket INCREMENT 7"),
        sql("ALTER SEQUENCE ticket INCREMENT 6"),
    ),
    Revision(
        "batch",
        """
        with op.batch_alter_table("author") as batch:
            batch.add_column(sa.Column("born", sa.Date))
            batch.create_index("author_born", ["born"])
        """,
        """
        with op.batch_alter_table("author") as batch:
            batch.drop_index("author_born")
            batch.drop_column("born")
        """,
    ),
    Revision(
        "schema",
        """
        op.execute("CREATE SCHEMA stats")
        op.create_table("sale", sa.Column("id", sa.Integer, primary_key=True), schema="stats")
        """,
        'op.drop_table("sale", schema="stats")\nop.execute("DROP SCHEMA stats")',
    ),
    Revision(
        "bad_schema",
        sql("CREATE SCHEMA IF NOT EXISTS left_over", "CREATE TABLE left_over.t (id int)"),
        sql("DROP TABLE left_over.t"),
    ),
    Revision("function", sql(FUNCTION.format("answer", 42)), sql("DROP FUNCTION answer()")),
    Revision(
        "replace_function", sql(FUNCTION.format("answer", 43)), sql(FUNCTION.format("answer", 42))
    ),
    Revision(
        "bad_function", sql(FUNCTION.format("answer", 44)), sql(FUNCTION.format("answer", 42))
    ),
    Revision(
        "trigger",
        sql(
            "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            TRIGGER.format("touched"),
        ),
        sql("DROP TRIGGER touched ON book", "DROP FUNCTION touch()"),
    ),
    Revision(
        "bad_trigger",
        sql("ALTER TABLE book DISABLE TRIGGER touched"),
        sql("DROP TRIGGER touched ON book", TRIGGER.format("touched_2")),
    ),
    Revision(
        "views",
        sql(
            "CREATE VIEW titles AS SELECT title FROM book",
            "CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM book",
        ),
        sql("DROP MATERIALIZED VIEW counts", "DROP VIEW titles"),
    ),
    Revision(
        "bad_view",
        sql("ALTER VIEW titles SET (security_barrier = true)"),
        sql("CREATE OR REPLACE VIEW titles AS SELECT title FROM book WHERE false"),
    ),
    Revision("bad_downgrade", sql("CREATE TABLE one_way (id int)"), 'op.drop_table("no_such")'),
    Revision(
        "bad_half_way",
        sql("CREATE TABLE half (id int)"),
        sql("DROP TABLE half", "SELECT 1 / 0"),
    ),
    Revision(
        "bad_second_upgrade",
        sql("CREATE TABLE again (id int)"),
        sql("DROP TABLE again", "CREATE VIEW again AS SELECT 1"),
    ),
    Revision(
        "commit",
        sql("CREATE TABLE e (id int)", "COMMIT", "BEGIN"),
        sql("DROP TABLE e", "COMMIT", "BEGIN"),
    ),
    Revision(
        "deferred",
        sql(
            "CREATE TABLE f (id int PRIMARY KEY, up int REFERENCES f DEFERRABLE INITIALLY"
            " DEFERRED)",
            "INSERT INTO f VALUES (1, 2), (2, 1)",
        ),
        sql("DELETE FROM f", "SET CONSTRAINTS ALL IMMEDIATE", "DROP TABLE f"),
    ),
    Revision("refuses", "pass", 'raise RuntimeError("irreversible")'),
    Revision("bad_no_downgrade", "pass", None),
    Revision(
        "bad_commit",
        sql("CREATE TABLE IF NOT EXISTS kept (id int)", "COMMIT", "BEGIN"),
        sql("COMMIT", "BEGIN"),
    ),
]
LEFT = [
    Revision("left", sql("CREATE TABLE l (id int)"), 'op.drop_table("l")'),
    Revision("bad_left", sql("CREATE TABLE IF NOT EXISTS m (id int)"), "pass"),
]
RIGHT = [Revision("right", sql("CREATE TABLE r (id int)"), 'op.drop_table("r")')]
MERGE = Revision("merge", "pass", "pass")
# A base of its own; it depends on the merge.
OTHER = Revision("other", sql("CREATE TABLE o AS SELECT l.id FROM l, r"), 'op.drop_table("o")')
