import os
from sqlalchemy import text


def test_it(pg_sync_session):
    word = os.environ["WORD"]
    for sql in (
        f"CREATE ROLE pgtemplate_nobody LOGIN PASSWORD '{word}' VALID UNTIL 'infinity'",
        f"ALTER ROLE pgtemplate_nobody ENCRYPTED PASSWORD E'it\\'s {word}'",
        f"ALTER ROLE pgtemplate_nobody PASSWORD $it${word}$it$ NOLOGIN",
        f"SELECT 'postgresql://joe:{word}@there/' AS url",
        f"SELECT 'host=there password={word} user=joe' AS dsn",
        f"SELECT '{'x' * 280} postgresql://joe:{word}@there/' AS cut",
    ):
        pg_sync_session.connection().exec_driver_sql(sql)
    url = {"url": f"postgresql://joe:{word}@there/"}
    pg_sync_session.execute(text("SELECT CAST(:url AS text) AS parameter"), url)
    query = text("SELECT password FROM member WHERE password = :it")
    pg_sync_session.execute(query, {"it": 1})
