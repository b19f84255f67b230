from dataclasses import dataclass


@dataclass
class NotFound(Exception):
    id: int


def test_without_a_hash():
    raise NotFound(1)


def test_as_a_context():
    try:
        raise NotFound(1)
    except NotFound:
        assert False


def test_its_own_cause():
    try:
        1 / 0
    except Exception as error:
        raise error from error


def test_after_all(pg): ...
