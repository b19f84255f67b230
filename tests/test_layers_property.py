"""Layers come and go in any order, whatever was written: each leaves what the others wrote.

Schemas and statements are those of test_reset_property.py. In between, tests are run again, and the
database is cloned again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from pytest_pgtemplate._reset import ResetResult
from pytest_pgtemplate._worker import WorkerOptions
from support.databases import Base, Dump, Session, database, difference
from support.kinds import KINDS
from test_reset_property import CONNECTIONS, EXAMPLES, Play, perform, plays

pytestmark = pytest.mark.full("values")  # of tracking, role and server

LOOSE = {"public.s0", "public.s1"}  # sequences of no table


@dataclass
class Layer:
    """What it did to each table and sequence: what went then, and what came."""

    number: int
    did: dict[str, tuple[Counter[str], Counter[str]]]


def made(number: int, before: Dump, after: Dump) -> Layer:
    nothing: Counter[str] = Counter()
    names = before.keys() | after.keys()
    pairs = {name: (before.get(name, nothing), after.get(name, nothing)) for name in names}
    return Layer(
        number, {name: (old - new, new - old) for name, (old, new) in pairs.items() if old != new}
    )


def state(origin: Dump, up: list[Layer]) -> Dump:
    """What has to be there: of a sequence, where the last one left it that moved it."""
    now = dict(origin)
    for layer in up:
        for name, (removed, added) in layer.did.items():
            rows = now.get(name, Counter())
            now[name] = added if name.endswith("_seq") or name in LOOSE else rows - removed + added
    return {name: rows for name, rows in now.items() if rows}


@pytest.fixture(scope="module", params=KINDS, ids=str)
def base(request: pytest.FixtureRequest) -> Iterator[Base]:
    with database(request, request.param, "SELECT", WorkerOptions(verify=True)) as base:
        yield base


def remove_layer(base: Base, up: list[Layer], which: int) -> bool:
    """Remove one layer and compare. Returns False if another layer depends on it."""
    layer = up[which]
    others = [each.number for each in up if each is not layer]
    last = layer is up[-1]
    if not last and base.worker.resetter.find_dependency([layer.number], others) is not None:
        event("entangled")
        return False

    outcome = base.worker.reset([layer.number])

    if not last and outcome.reclone_reason is not None:  # two rows that cannot be there both
        event("stale")
        return False
    assert outcome == ResetResult(None, ())
    up.remove(layer)
    assert difference(state(base.origin, up), base.dump()) == {}
    event("the last" if last else "in the middle")
    return True


def connect(base: Base) -> list[Session]:
    connections = [base.session() for _ in range(CONNECTIONS)]
    for session in connections:
        session.execute("SET lock_timeout = '20ms'")
    return connections


def run_test(connections: list[Session], steps: list[tuple[int, str]]) -> None:
    for number, step in steps:
        with suppress(asyncpg.PostgresError):
            perform(connections[number], step)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="PGTEMPLATE_EXAMPLES" not in os.environ,
    phases=set(Phase) - {Phase.explain, Phase.shrink},
    suppress_health_check=[HealthCheck.too_slow],
)
@given(play=plays(), choose=st.randoms(use_true_random=False))
def test_removing_a_layer_restores_the_state_before_it(
    base: Base, play: Play, choose: object
) -> None:
    draw = choose.choice  # type: ignore[attr-defined]
    recloned = draw([False, False, True])  # takes a template, which costs more
    script = ";\n".join(play.schema)
    start = base.rebuild if recloned else base.refill
    start(script if base.server.facts.major >= 18 else script.replace("VIRTUAL", "STORED"))
    connections = connect(base)
    up: list[Layer] = []
    for count, steps in enumerate(play.rounds, start=1):
        run_test(connections, steps)
        now, written = state(base.origin, up), base.dump()
        more = ["reclone", "reclone"] if recloned else []
        action = draw(["keep", "keep", "reset", "rerun", "last", "any", *more])
        event(action)
        if action == "keep":
            outcome = base.worker.resetter.add_layer(count)
            assert (outcome.reclone_reason, outcome.leaks) == (None, ())
            assert outcome.changes is not None or difference(now, written) == {}
            assert difference(written, base.dump()) == {}
            if outcome.changes is not None:
                up.append(made(count, now, written))
        elif action == "reclone":
            base.reclone()
            connections = connect(base)
            assert difference(now, base.dump()) == {}
            assert base.worker.resetter.verify() == ()
        elif action in ("reset", "rerun") or not up:
            assert base.reset() == ResetResult(None, ())
            assert difference(now, base.dump()) == {}
            if action == "rerun":
                run_test(connections, steps)
                assert base.reset() == ResetResult(None, ())
                assert difference(now, base.dump()) == {}
        elif not remove_layer(base, up, -1 if action == "last" else draw(range(len(up)))):
            return
    while up:
        if not remove_layer(base, up, draw(range(len(up)))):
            return
    assert difference(base.origin, base.dump()) == {}
