import pytest
import shop


@pytest.mark.parametrize("n", range(8))
def test_sells(n):
    shop.sell("mine")
    assert list(shop.sold()) == ["first", "mine", "mine"]


def test_other_server(pg_server, pg_orders_server, pg_orders_database):
    assert str(pg_server) != str(pg_orders_server)
    assert pg_orders_database.name == shop.os.environ["SHOP_ORDERS"]
