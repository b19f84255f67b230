import os
from sqlalchemy import text
from sqlalchemy.engine import make_url


def test_over_tcp(pg_url, pg_sync_session, pg_session):
    url = make_url(pg_url)
    assert (url.host, url.username) == ("127.0.0.1", "postgres")
    assert os.environ["APP_DSN"] == pg_url
    assert pg_sync_session.scalar(text("SELECT inet_server_addr() IS NOT NULL"))


def test_fails(pg_url):
    secret = "".join(pg_url)
    print(secret)
    assert secret == pg_url + "x", secret
