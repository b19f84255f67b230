from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.models import Product

pytest.importorskip("psycopg")


@pytest.mark.parametrize("name", ["Staunton", "Lewis"])
def test_a_sync_test_has_the_table_to_itself_too(pg_sync_session: Session, name: str) -> None:
    pg_sync_session.add(Product(sku="CHESS-01", name=name, price=Decimal("49.90")))
    pg_sync_session.commit()

    assert pg_sync_session.scalars(select(Product.name)).all() == [name]
