"""Examine a server: what is good, what is slow, and which setting to change.

It measures for about two seconds. A measurement that was slow is not repeated.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from statistics import median
from typing import NamedTuple

from pytest_pgtemplate._reset import Seal
from pytest_pgtemplate._server import PER_WORKER, Mark, Server, quote_identifier
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import spares
from pytest_pgtemplate.errors import PgTemplateError

GOOD, SLOW, NOTE = "good", "slow", "note"

SLOW_ROUND_TRIP = 0.002  # seconds above which round trips dominate a test
SLOW_CLONE = 0.3  # seconds
SLOW_COMMIT = 0.001  # seconds
LAST_CLONE = 0.7  # seconds of a clone after which no other strategy is tried


class Finding(NamedTuple):
    """A fact about a server. ``advice``: the setting to change, or ""."""

    topic: str
    verdict: str
    what: str
    advice: str = ""


def examine(server: Server) -> Iterator[Finding]:
    """Yield the findings. Raises ServerError."""
    yield Finding("server", GOOD, f"{server}, database {server.facts.maintenance} for locks")
    yield _role(server)
    yield _connections(server)
    yield _locks(server)
    yield _round_trip(server)
    yield from _clones(server)
    yield _spares(server)


def _role(server: Server) -> Finding:
    facts = server.facts
    role = f"{facts.role}, superuser: {'yes' if facts.superuser else 'no'}"
    if facts.superuser:
        return Finding("role", GOOD, role)
    role_name = quote_identifier(facts.role)
    advice = f"event triggers would detect DDL faster: ALTER ROLE {role_name} SUPERUSER"
    return Finding("role", NOTE, f"{role}: each reset compares the catalogs", advice)


def _connections(server: Server) -> Finding:
    """Whether workers on all processors may connect."""
    facts = server.facts
    what = f"{facts.max_connections}, enough for {facts.workers} workers of {PER_WORKER} each"
    if facts.workers >= (os.cpu_count() or 1):
        return Finding("connections", GOOD, what)
    return Finding("connections", NOTE, what, "max_connections = 300")


def _locks(server: Server) -> Finding:
    """Whether workers on all processors may lock all tables and indexes of the largest template."""
    facts, processors = server.facts, os.cpu_count() or 1
    marks = (each.mark for each in server.databases() if each.mark and each.mark.state)
    largest = max((Seal.parse(mark.state).relations for mark in marks), default=0)
    what = f"{facts.max_locks}, and the largest template has {largest} tables and indexes"
    if facts.max_locks >= largest * processors:
        return Finding("locks", GOOD, what)
    transactions = facts.max_locks // facts.max_locks_per_transaction
    enough = math.ceil(largest * processors / transactions)
    return Finding("locks", NOTE, what, f"max_locks_per_transaction = {enough}")


def _round_trip(server: Server) -> Finding:
    seconds = median(server.round_trip() for _ in range(20))
    slow = seconds > SLOW_ROUND_TRIP
    advice = "run the tests on the host or in the network of the server" if slow else ""
    return Finding("round trip", SLOW if slow else GOOD, _ms(seconds), advice)


def _clones(server: Server) -> Iterator[Finding]:
    """Clone an empty database with each strategy, and measure commits in the first clone."""
    strategies = ("WAL_LOG", "FILE_COPY") if server.facts.major >= 15 else ("FILE_COPY",)
    chosen = server.strategy()
    name = database_names.scratch("pgtemplate", os.urandom(4).hex())
    server.lease(name)
    try:
        for strategy in strategies:
            began = time.perf_counter()
            server.clone("template0", name, Mark("scratch", ""), strategy)
            seconds = time.perf_counter() - began
            if strategy == strategies[0]:
                yield _disk(server, name)
            server.drop(name)
            yield _clone(strategy, seconds, used=strategy == chosen, fsync=server.facts.fsync)
            if seconds > LAST_CLONE:
                return
    finally:
        with suppress(PgTemplateError):
            server.drop(name)
            server.release(name)


def _clone(strategy: str, seconds: float, *, used: bool, fsync: bool) -> Finding:
    what = f"{_ms(seconds)} for an empty database{', used for clones here' if used else ''}"
    slow = used and seconds > SLOW_CLONE
    memory = "its data directory in memory (tmpfs)"
    advice = f"fsync = off, on a server for tests only; or {memory}" if fsync else memory
    return Finding(f"clone {strategy}", SLOW if slow else GOOD, what, advice if slow else "")


def _disk(server: Server, name: str) -> Finding:
    def commit() -> float:
        began = time.perf_counter()
        server.record_use(name)
        return time.perf_counter() - began

    seconds = median(commit() for _ in range(5))
    if not server.facts.fsync:
        return Finding("disk", GOOD, f"fsync is off; a commit takes {_ms(seconds)}")
    slow = seconds > SLOW_COMMIT
    advice = "fsync = off, on a server for tests only" if slow else ""
    what = f"fsync is on; a commit takes {_ms(seconds)}"
    return Finding("disk", SLOW if slow else GOOD, what, advice)


def _spares(server: Server) -> Finding:
    count = sum(map(spares.is_spare, server.databases()))
    what = f"{count} of at most {spares.MAX_SPARES}, {spares.MAX_PER_TEMPLATE} per template"
    return Finding("spares", GOOD, what)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"
