import psycopg
import pytest
from app import DSN, OTHER


@pytest.mark.parametrize("n", range(6))
def test_rows_of_no_other_test(n):
    with psycopg.connect(DSN) as connection:
        connection.execute("INSERT INTO item (name) VALUES ('mine')")
        assert connection.execute("SELECT name FROM item ORDER BY id").fetchall() == [
            ("reference",),
            ("mine",),
        ]


def test_it_is_the_url_of_this_worker(pg_url, worker_id):
    assert DSN == OTHER == pg_url
    assert f"_{worker_id}" in DSN
