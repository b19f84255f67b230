import os
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

items = create_engine(os.environ["SHOP_URL"], poolclass=NullPool)
bills = create_engine(os.environ["SHOP_ORDERS_URL"], poolclass=NullPool)


def sell(name):
    with items.begin() as connection:
        connection.execute(text("INSERT INTO item VALUES (:name)"), {"name": name})
    with bills.begin() as connection:
        connection.execute(text("INSERT INTO bill VALUES (:name)"), {"name": name})


def sold():
    with items.connect() as connection:
        yield from connection.scalars(text("SELECT name FROM item"))
    with bills.connect() as connection:
        yield from connection.scalars(text("SELECT name FROM bill"))
