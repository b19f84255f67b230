import app
from sqlalchemy import create_engine, make_url, text


def test_it(pg_url):
    assert app.URL == pg_url
    assert make_url(pg_url).drivername == "postgresql+psycopg"
    engine = create_engine(app.URL)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT name FROM item")) == "reference"
    engine.dispose()
