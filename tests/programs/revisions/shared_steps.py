from alembic import op


class steps:
    revision = "d"
    down_revision = ["c"]


for name in ("revision", "down_revision"):
    globals()[name] = getattr(steps, name)

upgrade = lambda: op.execute("CREATE TABLE t_d ()")
downgrade = lambda: op.execute("DROP TABLE t_d")
