def test_comments(pg_sync_engine):
    from sqlalchemy import text

    with pg_sync_engine.connect() as connection:
        connection.execute(
            text(
                "DO $$ BEGIN"
                "     EXECUTE format('COMMENT ON DATABASE %I IS NULL', current_database());"
                " END $$"
            )
        )
        connection.commit()
    assert False
