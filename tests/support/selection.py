"""What the short form of the suite leaves out: the marker ``full``, and the option ``--full``.

``pytest`` is the short form. ``pytest --full`` runs everything. Uses of one marker:

    @pytest.mark.full              only the long form runs this test
    @pytest.mark.full("product")   the long form runs this test with the full product of its
                                   parameters; the short form has every pair of two values
    @pytest.mark.full("values")    the same, but the short form has every single value
    @pytest.mark.full("one")       the same, but the short form has one row of parameters

A pytest plugin. Nothing here is a test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import astuple, is_dataclass
from itertools import combinations
from zlib import crc32

import pytest

Values = tuple[object, ...]
COLUMNS = {"product": 2, "values": 1, "one": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long form of the suite")


def pytest_configure(config: pytest.Config) -> None:
    line = "full(which): only in the long form (--full): the test, or most of its parameters"
    config.addinivalue_line("markers", line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = set(_left_out(items))
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]


def _left_out(items: Sequence[pytest.Item]) -> Iterator[pytest.Item]:
    products: dict[tuple[object, str, int], list[pytest.Function]] = defaultdict(list)
    for item in items:
        for marker in item.iter_markers("full"):
            if not marker.args:
                yield item
            elif isinstance(item, pytest.Function) and hasattr(item, "callspec"):
                products[item.parent, item.originalname, COLUMNS[marker.args[0]]].append(item)
    for (*_, columns), product in products.items():
        chosen = covering({item.nodeid: _values(item) for item in product}, columns)
        yield from (item for item in product if item.nodeid not in chosen)


def _values(item: pytest.Function) -> Values:
    """The parameters of a test. Each field of a dataclass is a parameter of its own."""
    values: list[object] = []
    for value in item.callspec.params.values():
        if is_dataclass(value) and not isinstance(value, type):
            values += astuple(value)
        else:
            values.append(value if isinstance(value, Hashable) else id(value))
    return tuple(values)


def covering(rows: Mapping[str, Values], columns: int) -> set[str]:
    """Names of rows such that each combination of so many columns' values is in one of them.

    Of rows that are equally useful, a checksum of their names chooses one: the choice is spread
    evenly, and is the same in every process.
    """
    found = {
        name: set(combinations(enumerate(row), min(columns, len(row))))
        for name, row in rows.items()
    }
    order = sorted(rows, key=lambda name: crc32(name.encode()))
    missing = set().union(*found.values())
    chosen = set()
    while missing:
        best = max(order, key=lambda name: len(found[name] & missing))
        chosen.add(best)
        missing -= found[best]
    return chosen
