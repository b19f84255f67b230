"""Faults where a failure matters most; ``tox run -e faults`` lets every call and use fail."""

from __future__ import annotations

import socket
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
from support.kinds import KINDS, Kind
from support.servers import need_binaries, system_bindir


@pytest.fixture(
    scope="module",
    params=[KINDS[0], pytest.param(Kind("scan", "plain", "system"), marks=pytest.mark.full)],
    ids=str,
)
def prepared(request: pytest.FixtureRequest) -> Iterator[tuple[Suite, FaultyServer]]:
    """There are a template and spares."""
    need_binaries()
    kind: Kind = request.param
    bindir = system_bindir() if kind.server == "system" else None
    with suite_behind_proxy(bindir, kind.tracking, kind.role) as (suite, proxy):
        assert count(suite, ServerFaults("late", suite, proxy), "warm")
        yield suite, proxy


@pytest.mark.parametrize(
    ("kind", "text", "number", "of_preparation"),
    [
        ("refused", "", 2, True),
        pytest.param("lost before", ".reset(", 2, False, marks=pytest.mark.full),
        pytest.param("lost after", ".reset(", 3, False, marks=pytest.mark.full),
        pytest.param("late", ".add_layer(", 6, False, marks=pytest.mark.full),
    ],
)
def test_a_call_that_fails(
    prepared: tuple[Suite, FaultyServer], kind: str, text: str, number: int, of_preparation: bool
) -> None:
    suite, proxy = prepared
    faults = ServerFaults(kind, suite, proxy, text)
    assert not list(broken_rules(suite, faults, "warm", [number]))
    assert faults.count >= number
    if hasattr(socket, "SO_PEERCRED"):  # it names the process that calls
        assert faults.preparations_hit == of_preparation


@pytest.mark.full
@pytest.mark.parametrize("number", [6, 10])
def test_a_file_that_fails(prepared: tuple[Suite, FaultyServer], number: int) -> None:
    suite, _ = prepared
    faults = FileFaults("broken", suite)
    assert not list(broken_rules(suite, faults, "warm", [number]))
    assert faults.count >= number
