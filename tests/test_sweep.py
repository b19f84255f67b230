"""The sweep: which databases it drops, and which ones it leaves alone."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import CONNECTION_LIMIT, KEY, Mark
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
from pytest_pgtemplate._worker import sweep as _sweep
from pytest_pgtemplate.errors import NotOursError, PgTemplateError
from support.projects import ITEM, TESTS, Project, execute, query

RUN = "0a1b2c3d"
NOW = int(time.time())


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    """The connection of another run."""
    made = Server(server.url, timeout=60)
    yield made
    made.close()


def make(server: Server, name: str, kind: str, age: float = 0) -> str:
    """A database of ours whose mark says that it was made, and last used, ``age`` s ago."""
    moment = int(NOW - age)
    mark = Mark(kind, RUN, "f" * 64, created=moment, used=moment)  # type: ignore[arg-type]
    server.create(name, mark)
    if kind == "template":
        execute(server.url, f"ALTER DATABASE {quote_identifier(name)} WITH IS_TEMPLATE true")
    return name


def names(server: Server, prefix: str) -> set[str]:
    return {row["datname"] for row in query(server.url, STATE_QUERY, prefix)}


def test_only_databases_without_an_owner_are_dropped(
    server: Server, other: Server, prefix: str
) -> None:
    worker = make(server, f"{prefix}_{RUN}_gw0", "worker")
    scratch = make(server, f"{prefix}_new_{RUN}", "scratch")
    kept = make(server, f"{prefix}_{RUN}_gw1", "kept", 6 * _sweep.DAY)
    template = make(server, f"{prefix}_tpl_{'0' * 12}", "template", 29 * _sweep.DAY)
    leased = [f"{prefix}_{RUN}_gw2", f"{prefix}_new_11111111"]
    for name in leased:
        other.lease(name)
        make(server, name, "worker", 40 * _sweep.DAY)
    unmarked = f"{prefix}_{RUN}_main"
    execute(server.url, f"CREATE DATABASE {unmarked} CONNECTION LIMIT {CONNECTION_LIMIT}")

    dropped = _sweep.sweep(server, prefix)
    assert {name for name in dropped if name.startswith(prefix)} == {worker, scratch, unmarked}
    assert names(server, prefix) == {kept, template, *leased}
    for name in leased:
        other.release(name)
    _sweep.sweep(server, prefix)
    assert names(server, prefix) == {kept, template}


def test_a_run_whose_connection_breaks_keeps_its_databases(
    server: Server, other: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease does not exist until its owner has connected again."""
    monkeypatch.setattr(_sweep, "RECONNECT_TIME", 1.0)
    name = f"{prefix}_{RUN}_gw0"
    other.lease(name)
    make(server, name, "worker")
    sweeping = threading.Thread(target=lambda: [_sweep.sweep(server, prefix) for _ in range(5)])
    sweeping.start()
    while sweeping.is_alive():
        pid = other._fetch("SELECT pg_backend_pid()")[0][0]
        execute(server.url, f"SELECT pg_terminate_backend({pid}, 5000)")
    assert names(server, prefix) == {name}


def test_other_prefixes_are_given_an_hour_and_kept_databases_a_week(
    server: Server, prefix: str
) -> None:
    young = make(server, f"{prefix}_{RUN}_gw0", "worker", 0.1 * _sweep.HOUR)
    make(server, f"{prefix}_{RUN}_gw1", "worker", 1.1 * _sweep.HOUR)
    kept = make(server, f"{prefix}_{RUN}_gw2", "kept", 6 * _sweep.DAY)
    make(server, f"{prefix}_{RUN}_gw3", "kept", 7.1 * _sweep.DAY)
    make(server, f"{prefix}_tpl_{'0' * 12}", "template", 31 * _sweep.DAY)
    _sweep.sweep(server, "somebody_else")  # as do, at any moment, the tests beside this one
    assert names(server, prefix) == {young, kept}


def test_a_database_with_a_prepared_transaction_is_dropped(server: Server, prefix: str) -> None:
    """DROP DATABASE refuses it, also WITH (FORCE). A killed worker leaves such a transaction."""
    name = make(server, f"{prefix}_{RUN}_gw0", "worker")
    statements = ("CREATE TABLE t ()", "BEGIN; INSERT INTO t DEFAULT VALUES")
    execute(
        server.url, *statements[:1], f"{statements[1]}; PREPARE TRANSACTION '{name}'", database=name
    )

    assert name in _sweep.sweep(server, prefix)


def test_a_template_that_is_used_while_the_sweep_waits_stays(
    server: Server, other: Server, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run works on an older branch again."""
    ages = [0.1, 0.2, 0.3, 0.4, 0.5, 3, 4]  # days
    made = [
        make(server, f"{prefix}_tpl_{n:012x}", "template", age * _sweep.DAY)
        for n, age in enumerate(ages)
    ]
    monkeypatch.setattr(time, "sleep", lambda _: other.record_use(made[-1]))

    _sweep.sweep(server, prefix)

    assert names(server, prefix) == {*made} - {made[-2]}


def test_the_most_recently_used_templates_of_a_project_stay(server: Server, prefix: str) -> None:
    ages = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 2, 3]  # days; six of them used today
    made = [
        make(server, f"{prefix}_tpl_{n:012x}", "template", age * _sweep.DAY)
        for n, age in enumerate(ages)
    ]
    neighbour = make(server, f"{prefix}_b_tpl_{'0' * 12}", "template", 3 * _sweep.DAY)
    dropped = _sweep.sweep(server, prefix)
    assert {name for name in dropped if name.startswith(prefix)} == set(made[6:])
    assert names(server, prefix) == {*made[:6], neighbour}


def test_the_use_of_a_template_is_recorded_once_an_hour(server: Server, prefix: str) -> None:
    name = make(server, f"{prefix}_tpl_{'0' * 12}", "template", 2 * _sweep.HOUR)
    _sweep.record_template_use(server, name)
    found = server.find(name)
    assert found is not None
    assert found.mark is not None
    assert found.mark.used >= NOW
    server._comment(name, replace(found.mark, used=NOW - 600))
    _sweep.record_template_use(server, name)
    again = server.find(name)
    assert again is not None
    assert again.mark is not None
    assert again.mark.used == NOW - 600


def test_prune(server: Server, other: Server, prefix: str) -> None:
    """``pgtemplate prune`` drops everything without a lease; the server is private."""
    worker = make(server, f"{prefix}_{RUN}_gw0", "worker")
    kept = make(server, f"{prefix}_{RUN}_gw0_kept1", "kept")
    template = make(server, f"{prefix}_tpl_{'0' * 12}", "template")
    leased = f"{prefix}_{RUN}_gw1"
    other.lease(leased)
    make(server, leased, "worker")
    others = make(server, f"{prefix}_orders_tpl_{'0' * 12}", "template")

    def prune(*, kept: bool, templates: bool) -> set[str]:
        owned = [base for base in server.databases() if base.name.startswith(prefix)]
        with pytest.MonkeyPatch.context() as patched:  # not those of tests that run beside this one
            patched.setattr(server, "databases", lambda: owned)
            return set(_sweep.prune(server, kept=kept, templates=templates).dropped)

    assert prune(kept=False, templates=False) == {worker}
    assert prune(kept=True, templates=False) == {kept}
    assert prune(kept=False, templates=True) == {others}, "a worker may want to clone the other"
    assert names(server, prefix) == {leased, template}
    other.release(leased)
    assert prune(kept=False, templates=True) == {leased, template}


# What looks like ours and is not


def lookalikes(prefix: str, dice: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Names like ours, with what else there is about our databases: never enough of it."""
    ends = [f"{RUN}_gw0", f"new_{RUN}", f"tpl_{'0' * 12}", f"{RUN}_main", f"{RUN}_gw0_kept1"]
    odd = ['"', "'", "\\", " ", "%s", "$1", ";--", "\u00fc", "\u30c6", "\N{PARTY POPPER}", "A"]
    marks = [
        "",
        "null",
        "[]",
        json.dumps({KEY: 1}),
        Mark("worker", RUN).dumps().replace(f'"{KEY}": 1', f'"{KEY}": 2'),
        Mark("worker", RUN).dumps().replace(KEY, "pytest_pgtemplate"),
        Mark("worker", RUN).dumps()[:-1],
        json.dumps([json.loads(Mark("worker", RUN).dumps())]),
    ]
    for comment in marks:
        middle = "".join(dice.choices(odd, k=dice.randint(0, 3)))
        name = f"{prefix}_{middle}_{dice.choice(ends)}"
        quoted = quote_identifier(name)
        yield name, [f"COMMENT ON DATABASE {quoted} IS {quote_literal(comment)}"]
    for end in (f"{RUN}_gw", f"{RUN}_gw0x", f"new_{RUN}0", RUN, f"{RUN.upper()}_gw0", "main"):
        name = f"{prefix}_{dice.choice(odd)}_{end}"
        yield (
            name,
            [f"ALTER DATABASE {quote_identifier(name)} CONNECTION LIMIT {CONNECTION_LIMIT}"],
        )
    long = f"{prefix}_{'x' * 60}"[: 63 - len(ends[0])] + ends[0]
    assert len(long.encode()) == 63
    yield long, []


STATE_QUERY = """
SELECT oid, datname, datistemplate, datallowconn, datconnlimit,
       shobj_description(oid, 'pg_database')
  FROM pg_database WHERE starts_with(datname, $1) ORDER BY datname
"""


@pytest.mark.parametrize("seed", [1])
def test_databases_that_only_have_similar_names_are_left_alone(
    server: Server, prefix: str, seed: int
) -> None:
    made = dict(lookalikes(prefix, random.Random(seed)))
    execute(
        server.url,
        *(f"CREATE DATABASE {quote_identifier(name)}" for name in made),
        *(change for changes in made.values() for change in changes),
    )
    before = [tuple(row) for row in query(server.url, STATE_QUERY, prefix)]
    assert len(before) == len(made)
    for name in made:
        acts: list[Any] = [
            server.drop,
            lambda name: server.publish(name, f"{prefix}_tpl_{'1' * 12}", Mark("template", RUN)),
            lambda name: server.keep_aside(name, f"{name}1", Mark("kept", RUN)),
            server.record_use,
        ]
        for act in acts:
            with pytest.raises(NotOursError):
                act(name)
    _sweep.sweep(server, prefix)
    assert isinstance(_sweep._drop(server, next(iter(made))), NotOursError)
    assert [tuple(row) for row in query(server.url, STATE_QUERY, prefix)] == before


FILL = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
INSERT INTO item (name) SELECT 'row ' || n FROM generate_series(1, 1000) AS n;
CREATE SCHEMA pgtemplate;
CREATE TABLE pgtemplate.log (id int);
CREATE TABLE alembic_version (version_num text);
INSERT INTO alembic_version VALUES ('one');
COMMENT ON TABLE item IS 'what a company lives on';
"""


def dump(url: URL) -> str:
    pg_dump = shutil.which("pg_dump") or pytest.skip("no pg_dump")
    command = [pg_dump, "--create", "--inserts", str(_urls.dsn(url))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "server version mismatch" in result.stderr:
        pytest.skip("pg_dump is older than the server")
    assert result.returncode == 0, result.stderr
    return re.sub(r"\\(un)?restrict \S+", "", result.stdout)  # a new word in every dump


def test_the_database_in_pg_url_is_not_changed(
    project: Project, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is done: a green run, a red one, one with DDL, a sweep, prune."""
    name = f"{project.prefix}_{RUN}_gw0"  # it could not look more like ours
    url = server.url.set(database=name)
    execute(server.url, f"CREATE DATABASE {name}")
    try:
        execute(url, FILL)
        before = dumped(url)
        monkeypatch.setenv("PGTEMPLATE_URL", str(_urls.render(url)))
        project.alembic()
        project.revision("one", ITEM)
        project.write("test_it.py", TESTS)
        project.run().assert_outcomes(passed=4)
        project.revision("two", "raise LookupError")
        assert project.run("--pg-rebuild").ret == pytest.ExitCode.TESTS_FAILED
        with ExitStack() as stack:
            by_url = Server(url, timeout=60)
            stack.callback(by_url.close)
            _sweep.sweep(by_url, project.prefix)
            with pytest.raises(PgTemplateError):
                by_url.drop(name)
        assert dumped(url) == before
    finally:
        execute(server.url, f"DROP DATABASE {name} WITH (FORCE)")


def dumped(url: URL) -> object:
    """A dump, or where pg_dump is missing or too old, all rows and all of the catalog's names."""
    try:
        return dump(url)
    except pytest.skip.Exception:
        tables = "SELECT oid, relname, relfilenode, reltuples FROM pg_class ORDER BY oid"
        items = "SELECT xmin, ctid, * FROM item ORDER BY id"
        databases = "SELECT * FROM pg_database WHERE datname = current_database()"
        return [str(query(url, each)) for each in (tables, items, databases)]
