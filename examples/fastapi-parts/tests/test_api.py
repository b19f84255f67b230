import pytest


@pytest.mark.parametrize("name", ["chess", "go"])
async def test_the_first_product_gets_the_first_id(client, name):
    response = await client.post(f"/products/{name}")

    assert (response.status_code, response.json()) == (201, 1)


async def test_products_are_listed_in_the_order_of_their_creation(client):
    for name in ("go", "chess"):
        await client.post(f"/products/{name}")

    assert (await client.get("/products")).json() == ["go", "chess"]


async def test_a_second_product_of_the_same_name_is_refused(client):
    await client.post("/products/chess")

    assert (await client.post("/products/chess")).status_code == 409
    assert (await client.get("/products")).json() == ["chess"]
