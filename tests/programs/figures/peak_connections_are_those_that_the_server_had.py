from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool


def test_it(pg_sync_engine, pg_database):
    url = pg_database.url.set(drivername="postgresql+psycopg")
    own = create_engine(url, poolclass=NullPool)
    with pg_sync_engine.connect(), pg_sync_engine.connect() as one, own.connect():
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        with open("connections", "w") as file:
            file.write(str(one.scalar(text(query))))


def test_fewer(pg_sync_engine):
    with pg_sync_engine.connect():
        pass
