import pytest
from library import Author, Authors


@pytest.mark.parametrize("name", ["Le Guin", "Lem"])
async def test_the_first_author_gets_the_first_id(client, name):
    response = await client.post(f"/authors/{name}")

    assert (response.status_code, response.json()) == (201, 1)


async def test_a_request_commits(client, pg_session):
    await client.post("/authors/Lem")

    assert await Authors(session=pg_session).count() == 1


async def test_a_request_sees_what_a_repository_of_the_test_has_committed(client, pg_session):
    await Authors(session=pg_session, auto_commit=True).add(Author(name="Le Guin"))

    assert (await client.get("/authors")).json() == ["Le Guin"]
