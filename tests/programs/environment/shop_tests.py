import os
import pytest
from sqlalchemy import func, select
from shop.db import add_user, engine
from shop.models import Item, User


def names(db):
    return sorted(db.scalars(select(User.name)))


@pytest.mark.parametrize("n", range(3))
def test_an_item_is_the_first(n, client, superuser, db):
    assert client.post(f"/items/{superuser}").json() == 1
    assert db.scalar(select(func.count()).select_from(Item)) == 1


@pytest.mark.parametrize("n", range(3))
def test_a_user_of_the_module(n, client, somebody, db):
    assert names(db) == ["root", "somebody"]
    client.post(f"/items/{somebody}")
    add_user(db, "a third")


def test_who_logs_in_is_there(client):
    assert client.post("/login/root").status_code == 200
    assert client.post("/login/a third").status_code == 401


def test_the_database_is_that_of_this_worker(pg_database):
    assert engine.url.database == os.environ["SHOP_DB"] == pg_database.name
