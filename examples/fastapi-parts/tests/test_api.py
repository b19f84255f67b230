import pytest


@pytest.mark.parametrize("name", ["chess", "go"])
async def test_the_first_product_gets_the_first_id(client, name):
    response = await client.post(f"/products/{name}")

    assert (response.status_code, response.json()) == (201, 1)


async def test_products_come_in_the_order_in_which_they_came(client):
    for name in ("go", "chess"):
        await client.post(f"/products/{name}")

    assert (await client.get("/products")).json() == ["go", "chess"]


async def test_of_each_name_there_is_one_product(client):
    await client.post("/products/chess")

    assert (await client.post("/products/chess")).status_code == 409
    assert (await client.get("/products")).json() == ["chess"]
