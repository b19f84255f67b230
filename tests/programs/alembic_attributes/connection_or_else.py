from alembic import context
from sqlalchemy import engine_from_config

config = context.config
connectable = config.attributes.get("connection", None)


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


if connectable is None:
    raise SystemExit("it reads the URL of the application, which is another database")
else:
    migrate(connectable)
