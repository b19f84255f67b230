"""Faults where a failure matters most; ``tox run -e faults`` lets every call and use fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.faults import (
    FileFaults,
    ServerFaults,
    Suite,
    broken_rules,
    count,
    suite_behind_proxy,
)
from support.faulty_server import FaultyServer
from support.servers import need_binaries


@pytest.fixture(scope="module")
def prepared() -> Iterator[tuple[Suite, FaultyServer]]:
    """There are a template and spares."""
    need_binaries()
    with suite_behind_proxy() as (suite, proxy):
        assert count(suite, ServerFaults("late", suite, proxy), "warm")
        yield suite, proxy


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [
        ("refused", "", 5),
        pytest.param("lost before", ".reset(", 2, marks=pytest.mark.full),
        ("lost after", ".reset(", 3),
        ("late", ".add_layer(", 6),
    ],
)
def test_a_call_that_fails(
    prepared: tuple[Suite, FaultyServer], kind: str, text: str, number: int
) -> None:
    suite, proxy = prepared
    faults = ServerFaults(kind, suite, proxy, text)
    assert not list(broken_rules(suite, faults, "warm", [number]))
    assert faults.count >= number


@pytest.mark.parametrize("number", [6, pytest.param(10, marks=pytest.mark.full)])
def test_a_file_that_fails(prepared: tuple[Suite, FaultyServer], number: int) -> None:
    suite, _ = prepared
    faults = FileFaults("broken", suite)
    assert not list(broken_rules(suite, faults, "warm", [number]))
    assert faults.count >= number
