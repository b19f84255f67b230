import pytest
from notes import Note, db


@pytest.mark.parametrize("text", ["buy milk", "water the plants"])
def test_the_first_note_gets_the_first_id(client, text):
    assert client.post("/notes", json={"text": text}).json == {"id": 1}


def test_a_note_is_kept(client):
    client.post("/notes", json={"text": "buy milk"})

    assert db.session.scalars(db.select(Note.text)).all() == ["buy milk"]


def test_a_note_that_is_not_there_cannot_be_removed(client):
    note = client.post("/notes", json={"text": "buy milk"}).json

    assert client.delete(f"/notes/{note['id']}").status_code == 204
    assert client.delete(f"/notes/{note['id']}").status_code == 404
