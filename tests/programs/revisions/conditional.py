import os
from alembic import op

revision = "c"
if "no such variable" in os.environ:
    down_revision = "a"
else:
    down_revision = "b"


def upgrade():
    op.execute("CREATE TABLE t_c ()")


def downgrade():
    op.execute("DROP TABLE t_c")
