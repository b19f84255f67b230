"""Tests may stop the clocks of their process: waits end, and no template in use is dropped."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

import pytest_pgtemplate
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.marks import Mark
from pytest_pgtemplate._worker import sweep
from support.programs import load_program
from support.projects import PLAIN, Project, execute, query

freezegun = pytest.importorskip("freezegun")
time_machine = pytest.importorskip("time_machine")

ASYNC = [option for option in PLAIN if "asyncio" not in option]
FAR = "2098-01-01"
CONFTEST = """
from pathlib import Path

import {module}
import pytest
from pytest_pgtemplate import SqlFiles

@pytest.fixture(scope="session", autouse=True)
def another_time():
    with {call}:
        yield

@pytest.fixture(scope="session")
def pg_migrations():
    return SqlFiles(Path(__file__).parent / "schema.sql")
"""
FREEZE = {"module": "freezegun", "call": f"freezegun.freeze_time({FAR!r})"}
TRAVEL = {"module": "time_machine", "call": f"time_machine.travel({FAR!r}, tick=False)"}

TESTS = load_program("clocks/tests.py")


@pytest.fixture
def base(project: Project) -> Project:
    project.write("schema.sql", "CREATE TABLE product (id serial PRIMARY KEY, name text);")
    project.write("test_it.py", TESTS)
    return project


@pytest.mark.full("values")
@pytest.mark.parametrize("how", [FREEZE, TRAVEL], ids=["freezegun", "time_machine"])
@pytest.mark.parametrize("loop", ["session", "function"])
def test_waits_end_whatever_the_clocks_say(base: Project, how: dict[str, str], loop: str) -> None:
    """For transactions that tests left open, and for a query that is still running."""
    base.ini(asyncio_mode="auto", asyncio_default_test_loop_scope=loop, pg_timeout=60)
    base.write("conftest.py", CONFTEST.format(**how))

    began = time.monotonic()
    try:
        result = base.pytester.runpytest_subprocess(*ASYNC, timeout=90)
    except Exception as error:  # it hangs
        pytest.fail(f"{type(error).__name__} after {time.monotonic() - began:.0f} s")

    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_leaks*", "*idle in transaction*"])


def template(server: Server, name: str, days: int) -> str:
    moment = query(server.url, "SELECT extract(epoch FROM now())::bigint")[0][0] - days * sweep.DAY
    server.create(name, Mark("template", "0a1b2c3d", "f" * 64, created=moment, used=moment))
    execute(server.url, f'ALTER DATABASE "{name}" WITH IS_TEMPLATE true')
    return name


@pytest.mark.parametrize("moment", [FAR, "1970-01-02"])
def test_a_sweep_uses_the_clock_of_the_server(own_server: Server, moment: str) -> None:
    """Templates of other projects survive a test that travels, and old ones do not."""
    kept = [template(own_server, f"other{n}_tpl_{'0' * 12}", 29 - n) for n in range(3)]
    kept += [
        template(own_server, f"ours_tpl_{n:012x}", 0) for n in range(sweep.TEMPLATES_PER_PREFIX)
    ]
    old = template(own_server, f"other_tpl_{'1' * 12}", 31)
    superseded = template(own_server, f"ours_tpl_{'f' * 12}", 2)

    with time_machine.travel(moment), freezegun.freeze_time(moment):
        own_server.record_use(kept[0])
        own_server.create("ours_0a1b2c3d_gw0", Mark("worker", "0a1b2c3d"))
        dropped = sweep.sweep(own_server, "ours")

    assert set(dropped) == {old, superseded, "ours_0a1b2c3d_gw0"}
    marks = {each.name: each.mark for each in own_server.databases()}
    assert set(marks) == set(kept)
    recorded = marks[kept[0]]
    assert recorded is not None
    assert abs(recorded.used - time.time()) < 3600


def test_marks_are_dated_by_the_server(base: Project) -> None:
    base.write("conftest.py", CONFTEST.format(**TRAVEL))
    base.write("test_it.py", "def test_it(pg): ...\n")

    base.run().assert_outcomes(passed=1)

    found = [each for each in base.server.databases() if each.name.startswith(base.prefix)]
    assert len(found) == 2  # the template and a spare
    for each in found:
        assert each.mark is not None
        assert abs(each.mark.created - time.time()) < 3600, each.name
        assert abs(each.mark.used - time.time()) < 3600, each.name


def test_a_mark_from_the_future_is_corrected(own_server: Server) -> None:
    """Of a template that an earlier release dated while a test travelled."""
    name = template(own_server, f"ours_tpl_{'0' * 12}", -20000)
    sweep.record_template_use(own_server, name)
    found = own_server.find(name)
    assert found is not None
    assert found.mark is not None
    assert abs(found.mark.used - time.time()) < 3600


SLOW = """
from sqlalchemy import text

def test_fails(pg_sync_session):
    pg_sync_session.execute(text("SELECT pg_sleep(0.2)"))
    pg_sync_session.execute(text("INSERT INTO product (name) VALUES ('mine')"))
    pg_sync_session.commit()
    assert False
"""


@pytest.mark.parametrize("how", [FREEZE, TRAVEL], ids=["freezegun", "time_machine"])
def test_reports_show_the_real_times(base: Project, how: dict[str, str]) -> None:
    base.write("conftest.py", CONFTEST.format(**how))
    base.write("test_it.py", SLOW)

    began = time.monotonic()
    result = base.run("--pg-log-sql=failed", "--pg-trace=trace.json", "--pg-stats")
    lasted = time.monotonic() - began

    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    statements = re.findall(r"^ *([\d.]+) ms  (\w+).*  took ([\d.]+) ms", shown, re.MULTILINE)
    assert [word for _, word, _ in statements] == ["SELECT", "INSERT"]
    moments = [float(moment) / 1000 for moment, *_ in statements]
    assert 0.2 <= moments[0] < moments[1] < lasted
    assert float(statements[0][2]) >= 200
    summary = re.search(r"template .* in ([\d.]+) s; .* 1 reset, ([\d.]+) ms each", shown)
    assert summary is not None
    assert all(0 < float(number) < 1000 * lasted for number in summary.groups())
    events = json.loads((base.root / "trace.json").read_text())["traceEvents"]
    spans = [(each["ts"], each["dur"]) for each in events if each["ph"] == "X"]
    assert len(spans) > 5
    assert all(0 <= start <= start + long <= 1e6 * lasted for start, long in spans)


def test_only_one_module_reads_the_clocks_that_tests_replace() -> None:
    """Besides those of commands and of the process that keeps an embedded server running."""
    replaced = {"time", "perf_counter", "monotonic", "time_ns", "monotonic_ns", "perf_counter_ns"}
    package = Path(pytest_pgtemplate.__file__).parent
    users = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "time"
        if node.attr in replaced
    }
    assert {name for name in users if not name.startswith("_cli/")} == {
        "_embedded/keeper.py",
        "_internals/clocks.py",
    }


LOCKED = load_program("clocks/locked.py")


def test_waiting_for_a_file_lock_ends(base: Project) -> None:
    command = [str(base.command()[0]), "-c", LOCKED, str(base.root / "a.lock")]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert done.stdout == "in time\n", done.stderr


CHILD = """
from pathlib import Path
from freezegun import freeze_time
from pytest_pgtemplate import _child

with freeze_time("2098-01-01"):
    ended = _child.run(["sleep", "600"], env={}, cwd=Path(), timeout=0.5)
    print(ended.code)
"""


def test_a_migration_that_hangs_is_ended_in_time(base: Project) -> None:
    """Alembic, commands, psql and seeds are child processes."""
    command = [str(base.command()[0]), "-c", CHILD]
    done = subprocess.run(command, timeout=60, capture_output=True, text=True, check=False)
    assert done.stdout == "None\n", done.stderr


@pytest.mark.full
def test_a_server_that_does_not_answer_is_given_up_in_time(private_url: URL) -> None:
    with freezegun.freeze_time(FAR):
        server = Server(private_url, timeout=1)
        try:
            began = time.clock_gettime(time.CLOCK_MONOTONIC)
            with pytest.raises(Exception, match="did not answer in time"):
                server._fetch("SELECT pg_sleep(3600)")
            assert time.clock_gettime(time.CLOCK_MONOTONIC) - began < 30
        finally:
            server.close()
