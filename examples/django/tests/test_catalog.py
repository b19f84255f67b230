import pytest
from django.test import TestCase

from catalog.models import Category, Product

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["chess", "go"])
def test_a_sync_view_shows_the_products_of_this_test_only(client, name):
    Product.objects.create(name=name, category=Category.objects.get(name="games"))

    assert client.get("/products").json() == [name]


@pytest.mark.parametrize("name", ["chess", "go"])
async def test_what_an_async_view_writes_does_not_reach_the_next_test(async_client, name):
    """Without a transaction around the test: Django's own rollback would not reach this row."""
    response = await async_client.post(f"/products/add/{name}")

    assert response.json() == {"id": 1}
    assert await Product.objects.acount() == 1


@pytest.mark.parametrize("attempt", ["first", "second"])
@pytest.mark.django_db(transaction=True)
def test_rows_of_a_data_migration_come_back(attempt):
    assert Category.objects.count() == 2

    Category.objects.all().delete()


@pytest.mark.parametrize("name", ["chess", "go"])
@pytest.mark.django_db(transaction=True, reset_sequences=True)
def test_the_next_id_follows_the_rows_of_a_data_migration(name):
    """Django would set the sequence to 1, which is the id of such a row."""
    assert Category.objects.create(name=name).id == 3


class TestChess(TestCase):
    """What setUpTestData writes is shared by the tests of the class, and removed after them."""

    @classmethod
    def setUpTestData(cls):
        games = Category.objects.get(name="games")
        cls.chess = Product.objects.create(name="chess", category=games)

    def test_a_test_may_delete_it(self):
        self.chess.delete()

    async def test_an_async_test_may_delete_it(self):
        await Product.objects.all().adelete()

    def test_each_test_finds_it(self):
        assert Product.objects.get() == self.chess
