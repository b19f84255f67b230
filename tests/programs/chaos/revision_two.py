import os
import time
from alembic import op

revision, down_revision = "two", "one"
began = time.monotonic()


def upgrade():
    op.execute("SELECT pg_sleep(0.2)")
    run, builder = os.environ["PGTEMPLATE_CHAOS_RUN"], os.getppid()
    with open(os.environ["MIGRATION_LOG"], "a") as log:
        log.write(f"{run} {builder} {began} {time.monotonic()}\n")
