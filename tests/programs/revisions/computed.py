import pathlib
from alembic import op

revision = pathlib.Path(__file__).stem.split("_")[0]
down_revision = chr(ord(revision) - 1)


def upgrade():
    op.execute(f"CREATE TABLE t_{revision} ()")


def downgrade():
    op.execute(f"DROP TABLE t_{revision}")
