from sqlalchemy import create_engine, text


def fill(url):
    with open(os.environ["MIGRATION_LOG"], "a") as log:
        log.write("seeded\n")
    engine = create_engine(url.replace("+asyncpg", "+psycopg"))
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO item (name) VALUES ('seeded')"))
    engine.dispose()
