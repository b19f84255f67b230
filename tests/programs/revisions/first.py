import os
from alembic import op

revision, down_revision = "a", None


def upgrade():
    op.execute("CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY, name text)")
    op.execute("INSERT INTO item (name) VALUES ('reference')")
    with open(os.environ["MIGRATION_LOG"], "a") as log:
        log.write("migrated\n")


def downgrade():
    op.execute("DROP TABLE item")
