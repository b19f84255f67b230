import pytest
from heroes import Hero, Team
from sqlmodel import select


@pytest.mark.parametrize("name", ["Deadpond", "Rusty-Man"])
def test_a_hero_joins_a_team(client, team_id, name):
    added = client.post("/heroes", json={"name": name, "team_id": team_id}).json()

    assert added == {"id": 1, "name": name, "team_id": team_id}
    assert client.get(f"/teams/{team_id}/heroes").json() == [name]


def test_a_session_of_the_test_sees_what_a_request_has_committed(client, team_id, pg_sync_session):
    client.post("/heroes", json={"name": "Spider-Boy", "team_id": team_id})

    assert pg_sync_session.exec(select(Hero.name)).all() == ["Spider-Boy"]


@pytest.mark.parametrize("attempt", ["first", "second"])
def test_a_team_that_one_test_dissolves_is_there_for_the_next(team_id, pg_sync_session, attempt):
    pg_sync_session.delete(pg_sync_session.get_one(Team, team_id))
    pg_sync_session.commit()

    assert pg_sync_session.exec(select(Team)).all() == []
