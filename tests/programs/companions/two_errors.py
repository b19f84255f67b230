attempts = []


def test_fails_twice(request):
    attempts.append(1)
    if len(attempts) == 1:
        request.getfixturevalue("pg")
    assert len(attempts) == 3


def test_needs_a_database(pg):
    pass
