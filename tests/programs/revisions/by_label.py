from alembic import op

revision = "f"
down_revision = "e"
depends_on = "tables"
depends_on = (depends_on,)


def upgrade():
    op.execute("CREATE TABLE t_f ()")


def downgrade():
    op.execute("DROP TABLE t_f")
