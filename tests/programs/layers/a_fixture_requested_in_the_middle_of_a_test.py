def test_one(pg, request):
    add(pg, "mine")
    request.getfixturevalue("base")
    assert names(pg) == "base mine reference"
    add(pg, "mine, too")


def test_two(pg):
    assert names(pg) == "base reference"


def test_three(base, pg):
    assert names(pg) == "base reference"
