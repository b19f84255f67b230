import engines
from alembic import context


def migrate(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


engines.run(context.config.get_main_option("sqlalchemy.url"), migrate)
