"""``--pg-report`` and ``--pg-trace``, compared with independent clocks and counts."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from pytest_pgtemplate import _urls
from pytest_pgtemplate._report.findings import one_more_worker
from pytest_pgtemplate._report.page import write_page
from pytest_pgtemplate._report.recording import Event, Recording, Test
from pytest_pgtemplate._worker import WorkerDatabase
from support.browser import Browser
from support.programs import load_program
from support.projects import ITEM, Project

TESTS = load_program("report/tests.py")
# Another clock: how long each test was called for.
CONFTEST = load_program("report/root_conftest.py")


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.write("test_it.py", TESTS)
    project.write("conftest.py", CONFTEST)
    return project


def data_in(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def test_a_page_holds_what_has_happened(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[object] = []
    reset = WorkerDatabase.reset

    def count_resets(worker: WorkerDatabase, *arguments: Any, **how: Any) -> Any:
        resets.append(worker)
        return reset(worker, *arguments, **how)

    monkeypatch.setattr(WorkerDatabase, "reset", count_resets)
    began = time.time()
    result = shop.run("--pg-report=out/page.html", "--pg-trace=out/trace.json")
    lasted = time.time() - began
    result.assert_outcomes(passed=7, failed=1, errors=1)
    result.stdout.fnmatch_lines("*report written to *page.html")
    data = data_in(shop.root / "out" / "page.html")

    assert data["workers"] == ["main"]
    assert began <= data["began"] < began + lasted
    assert 0 < data["seconds"] < lasted
    assert sum(data["spent"].values()) == pytest.approx(data["seconds"])
    names = [row[2] for row in data["tests"]]
    lines = (shop.root / "calls.log").read_text().splitlines()
    calls = {line.split()[1]: float(line.split()[0]) for line in lines}
    assert [f"test_it.py::{name}" for name in names] == list(calls)
    for row in data["tests"]:
        called, in_teardown, reset = row[5], row[6], row[7]
        assert called / data["scale"] >= calls[f"test_it.py::{row[2]}"] - 1 / data["scale"]
        assert reset <= in_teardown + 1
    assert data["spent"]["tests"] < lasted
    assert data["resets"]["times"] == len(resets) - 1 > 7  # one is that of the prepared database
    assert data["facts"]["template"] == "migrated 1 of 1 revisions"
    assert data["written"] == [["item", 4]]
    assert data["changed"] == [["test_it.py::test_ddl", "the schema changed"]]
    assert [whose for whose, _ in data["leaked"]] == ["test_it.py::test_leaks"]
    assert [(whose, times) for whose, times, _ in data["layers"]] == [
        ('the module fixture "shared"', 1)
    ]
    (sharing,) = data["sharing"]
    assert (sharing["module"], sharing["fixture"], sharing["times"]) == (
        "test_it.py",
        "customer",
        4,
    )
    assert sharing["saves"] == pytest.approx(sharing["seconds"] * 3 / 4)
    assert 4 * 0.05 <= sharing["seconds"] < lasted

    trace = json.loads((shop.root / "out" / "trace.json").read_text())["traceEvents"]
    tests = [event for event in trace if event.get("cat") == "test"]
    assert [event["name"] for event in tests] == list(calls)
    assert all(0 <= event["ts"] <= event["ts"] + event["dur"] <= 1e6 * lasted for event in tests)


@pytest.mark.full
@pytest.mark.parametrize("workers", [0, 2])
def test_a_trace_is_what_perfetto_reads(shop: Project, workers: int) -> None:
    """Complete events, which it stacks: so one of a lane is within another, or beside it."""
    run = shop.run_workers if workers else shop.run
    run("--pg-trace=trace.json").assert_outcomes(passed=7, failed=1, errors=1)
    trace = json.loads((shop.root / "trace.json").read_text())

    assert isinstance(trace["otherData"], dict)
    names = {each["tid"]: each["args"]["name"] for each in trace["traceEvents"] if is_name(each)}
    assert list(names.values()) == (["gw0", "gw1"] if workers else ["main"])
    lanes: dict[int, list[tuple[int, int, str]]] = {lane: [] for lane in names}
    for event in trace["traceEvents"]:
        if not is_name(event):
            assert event["ph"] == "X"
            assert event["pid"] == 1
            assert event["name"]
            assert event["cat"]
            assert isinstance(event["args"], dict)
            start, long = event["ts"], event["dur"]
            assert isinstance(start, int)
            assert isinstance(long, int)
            assert start >= 0
            assert long >= 0
            lanes[event["tid"]].append((start, start + long, event["name"]))
    resets = [event for event in trace["traceEvents"] if event["name"] == "reset"]
    assert {each["args"]["test"] for each in resets} >= {"test_it.py::test_ddl"}
    for spans in lanes.values():
        assert len(spans) > 10
        around: list[tuple[int, int, str]] = []
        for span in sorted(spans, key=lambda each: (each[0], -each[1])):
            while around and around[-1][1] <= span[0]:
                around.pop()
            assert not around or span[1] <= around[-1][1], f"{span} ends after {around[-1]}"
            around.append(span)


def is_name(event: dict[str, Any]) -> bool:
    return bool(event["ph"] == "M" and event["name"] == "thread_name")


def test_each_worker_has_a_lane(shop: Project) -> None:
    shop.run_workers("--pg-report=page.html").assert_outcomes(passed=7, failed=1, errors=1)
    data = data_in(shop.root / "page.html")

    assert data["workers"] == ["gw0", "gw1"]
    assert len(data["tests"]) == 8
    kinds = [(lane, kind) for lane, kind, *_ in data["events"]]
    for lane in (0, 1):
        assert {kind for at, kind in kinds if at == lane} >= {"start", "collect", "template"}
    assert [kind for _, kind in kinds].count("reclone") == 1
    built = [(lane, name) for lane, kind, name, *_ in data["events"] if kind == "build"]
    assert len({lane for lane, _ in built}) == 1  # one has built, the other has waited
    assert sum(data["spent"].values()) == pytest.approx(2 * data["seconds"])


def test_no_password_gets_into_a_page(project: Project) -> None:
    project.write(
        "test_it.py",
        load_program("report/no_password_gets_into_a_page.py"),
    )
    project.write("migrations.sql", "CREATE TABLE item (id int)")
    project.write(
        "conftest.py",
        """
        import pytest
        from pytest_pgtemplate import SqlFiles

        @pytest.fixture(scope="session")
        def pg_migrations():
            return SqlFiles("migrations.sql")
        """,
    )
    url = _urls.render(project.server.url.set(password="hunter2-7"))  # which is not asked for
    project.run(f"--pg-url={url}", "--pg-report=page.html", "--pg-trace=trace.json")

    for file in ("page.html", "trace.json"):
        text = (project.root / file).read_text()
        assert "postgresql://joe:***@there/" in text
        assert "hunter2-7" not in text


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_that_is_reported_at_the_end_is_no_other_test(shop: Project, workers: int) -> None:
    shop.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.xfail(reason="known bug")
        def test_expected(pg_sync_session):
            assert False
        """,
    )
    run = shop.run_workers if workers else shop.run
    how = {"workers": workers} if workers else {}

    result = run("--pg-url=postgresql://joe@127.0.0.1:1/postgres", "--pg-trace=trace.json", **how)

    result.assert_outcomes(xfailed=1, errors=1)
    trace = json.loads((shop.root / "trace.json").read_text())["traceEvents"]
    assert len([event for event in trace if is_name(event)]) == 1
    [test] = [event for event in trace if event.get("cat") == "test"]
    assert test["args"]["outcome"] == "error"
    assert all(event["ts"] >= 0 for event in trace if not is_name(event))


def test_a_file_that_cannot_be_written_does_not_fail_the_run(shop: Project) -> None:
    result = shop.run("--pg-report=calls.log/page.html", "-k", "reads or customer")

    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines("*cannot write *page.html: *")


# A page in the browser


def recording(tests: int, workers: int = 4) -> Recording:
    """A run of tests that took 10 ms each, one of a hundred of which failed."""
    run = Recording(1e9, processors=64)
    for number in range(tests):
        lane, place = number % workers, number // workers
        test = Test(f"gw{lane}", f"test_{number // 50}.py::test_{number}", 1e9 + place / 100)
        test.setup, test.call, test.teardown, test.reset = 0.003, 0.005, 0.002, 0.001
        test.outcome = "failed" if number % 100 == 7 else "passed"
        test.tables = ("orders",) if number % 2 else ()
        run.tests.append(test)
    run.events.append(Event("gw0", "reclone", "test_0.py::test_0", 1e9, 1e9 + 0.002, {"why": "x"}))
    run.ended = 1e9 + tests / workers / 100
    return run


def test_names_of_tests_cannot_end_or_hide_the_data_of_a_page(tmp_path: Path) -> None:
    """``<!--<script`` would keep an HTML parser from seeing the end of the data."""
    run, name = recording(1), "test_html.py::test_it[<!--<script>alert(1)</script>]"
    run.tests[0].nodeid = name
    page = tmp_path / "page.html"

    write_page(run, page)

    assert "alert(1)" in page.read_text("utf-8")
    assert "<script>alert" not in page.read_text("utf-8")
    assert name.partition("::")[2] in str(data_in(page))


def test_a_person_finds_a_test_and_moves_along_the_timeline(
    browser: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    write_page(recording(10_000), page)
    assert page.stat().st_size < 5_000_000
    browser.open(page)

    assert browser.run("document.documentElement.dataset.ready") == "10000"
    assert browser.run("performance.getEntriesByType('resource').length") == 0
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    assert "10,000" in browser.run("document.getElementById('figures').innerText")

    browser.type("#find", "failed")
    assert browser.run("document.getElementById('count').textContent") == "100 tests"
    browser.type("#timeline", "+")
    assert browser.run("view.end - view.start") == pytest.approx(12.5)
    browser.type("#timeline", "0")
    assert browser.run("view.end - view.start") == pytest.approx(25)

    paper = "getComputedStyle(document.body).backgroundColor"
    before = browser.run(paper)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(paper) != before


def test_a_page_fits_every_screen_and_has_no_errors(browser: Browser, tmp_path: Path) -> None:
    run = recording(1000, workers=8)
    run.tests[0].nodeid = f"a/{'long_' * 30}module.py::test_{'x' * 90}"
    for test in run.tests:
        test.tables = (f"table_{test.nodeid[-1]}",)
    write_page(run, tmp_path / "page.html")
    colours = set()
    for width, scheme in ((400, "light"), (400, "dark"), (1600, "light"), (1600, "dark")):
        browser.emulate_media(width=width, scheme=scheme)
        browser.open(tmp_path / "page.html")
        assert browser.run("document.documentElement.dataset.ready") == "1000"
        assert browser.run("document.documentElement.scrollWidth") <= width
        colours.add(browser.run("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 2

    written = "document.querySelectorAll('#findings section')[0]"
    rows = f"{written}.querySelectorAll('tbody tr').length"
    before = browser.run(rows)
    browser.run(f"{written}.querySelector('button').click()")
    assert before < browser.run(rows) == len({each.tables for each in run.tests})
    assert browser.console() == []


def test_one_more_worker_is_worth_it_only_where_there_is_work_and_a_processor() -> None:
    run = recording(1000)
    assert one_more_worker(run).startswith("Yes: it would save about 0.5 of 2.5 s")
    run.processors = 4
    assert one_more_worker(run).startswith("No: 4 workers already share 4 processors")


def test_a_page_knows_what_a_worker_did_before_it_crashed(shop: Project) -> None:
    shop.write(
        "test_it.py",
        load_program("report/a_page_knows_what_a_worker_did_before_it_crashed.py"),
    )
    shop.run_workers("--pg-report=page.html", workers=1)
    data = data_in(shop.root / "page.html")

    assert [row[2] for row in data["tests"]] == ["test_first", "test_crashes", "test_last"]
    assert data["outcomes"] == ["passed", "crashed"]
    assert data["workers"] == ["gw0", "gw1"]
    assert data["written"] == [["item", 1]]
