"""The verdicts of a check are those of Alembic's own commands, each run alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from support import long_lineage
from support.alembic_verdicts import Judge, empty_database, parse_verdicts
from support.kinds import KINDS
from support.long_lineage import Revision, outside, sql
from support.projects import SYNC_ENV, Project

CHECKED = [kind for kind in KINDS if kind.tracking == "triggers"]  # a check runs no reset
FEW = [
    Revision("first", sql("CREATE TABLE item (id int)"), sql("DROP TABLE item")),
    Revision(
        "bad_half_way",
        sql("CREATE TABLE b (id int)"),
        sql("DROP TABLE b", "SELECT 1 / 0"),
    ),
    Revision("refuses", "pass", 'raise RuntimeError("irreversible")'),
    Revision(
        "bad_index_concurrently",
        outside("CREATE INDEX CONCURRENTLY IF NOT EXISTS item_left ON item (id)"),
        outside("SELECT 1"),
    ),
    Revision("last", sql("CREATE TABLE last (id int)"), sql("DROP TABLE last")),
]


def write(project: Project, revisions: list[Revision]) -> None:
    for each in revisions:
        project.revision(each.name, each.up, each.down)


@pytest.fixture
def judge(project: Project) -> Iterator[Judge]:
    project.alembic(SYNC_ENV)
    with empty_database(project.server.url, f"judge_{project.prefix}") as url:
        yield Judge(project.root / "alembic.ini", url)


def outcomes(project: Project) -> dict[str, str]:
    """Check the project's revisions; the verdict of each."""
    return parse_verdicts(str(project.run("--pg-check", "-rA").stdout))


def assert_verdicts_are_alembics(project: Project, judge: Judge) -> None:
    expected = dict(judge.verdicts())
    assert {"passed", "failed", "irreversible"} == {*expected.values()}
    failed = {name for name, verdict in expected.items() if verdict == "failed"}
    assert failed == {name for name in expected if name.startswith("bad_")}

    assert outcomes(project) == expected


@pytest.mark.full("one")
@pytest.mark.parametrize("project", CHECKED, indirect=True, ids=str)
def test_verdicts_are_those_of_alembics_commands(project: Project, judge: Judge) -> None:
    """A fault changes no verdict of a revision after it, and none is found where there is none."""
    write(project, FEW)

    assert_verdicts_are_alembics(project, judge)


@pytest.mark.full
@pytest.mark.parametrize("project", CHECKED, indirect=True, ids=str)
def test_verdicts_on_every_kind_of_operation(project: Project, judge: Judge) -> None:
    """Also beside other branches, in a merge and with dependencies."""
    write(project, long_lineage.TRUNK)
    trunk = long_lineage.TRUNK[-1].name
    for branch in (long_lineage.LEFT, long_lineage.RIGHT):
        first, *others = branch
        project.revision(first.name, first.up, first.down, down=trunk)
        write(project, others)
    merge, other = long_lineage.MERGE, long_lineage.OTHER
    heads = long_lineage.LEFT[-1].name, long_lineage.RIGHT[-1].name
    project.revision(merge.name, merge.up, merge.down, down=heads)
    project.revision(other.name, other.up, other.down, down=None, needs=merge.name)
    project.ini(pg_check_heads=2)

    assert_verdicts_are_alembics(project, judge)


@pytest.mark.full("one")
@pytest.mark.parametrize("project", CHECKED, indirect=True, ids=str)
def test_a_failure_is_remembered_until_its_file_changes(project: Project) -> None:
    """The second check walks nothing, and says the same."""
    project.alembic(SYNC_ENV)
    project.revision("item", "pass", "pass")
    bad = project.revision("bad", sql("CREATE TABLE c (id int)"), "pass")
    first = outcomes(project)
    assert first == {"item": "passed", "bad": "failed"}
    assert outcomes(project) == first
    project.run("--pg-check").stdout.fnmatch_lines(["  (result of an earlier check of the same *"])

    bad.write_text(bad.read_text().replace("    pass", '    op.drop_table("c")'))

    assert outcomes(project) == first | {"bad": "passed"}


@pytest.mark.full("one")
@pytest.mark.parametrize("project", CHECKED, indirect=True, ids=str)
def test_the_order_of_columns_can_be_allowed(project: Project) -> None:
    """PostgreSQL cannot restore it. It has a verdict of its own, which names the option."""
    project.alembic(SYNC_ENV)
    project.revision("first", 'op.execute("CREATE TABLE t (a int, b int)")', 'op.drop_table("t")')
    project.revision("drops", 'op.drop_column("t", "a")', 'op.execute("ALTER TABLE t ADD a int")')

    assert outcomes(project) == {"first": "passed", "drops": "failed"}
    project.run("--pg-check").stdout.fnmatch_lines(["*pg_check_column_order = false allows it*"])
    project.ini(pg_check_column_order="false")
    assert outcomes(project) == {"first": "passed", "drops": "passed"}


@pytest.mark.parametrize("project", CHECKED[:1], indirect=True, ids=str)
@pytest.mark.parametrize("order", ["true", "false"])
def test_a_column_comes_back_elsewhere_and_empty(project: Project, order: str) -> None:
    """Rows are compared by the names of the columns, whether their order is allowed or not."""
    rows = "(1, 'a, \"b\"', NULL, 0), (2, '', 'x', 0)"
    create = f"CREATE TABLE t (a int, b text, c text, d int); INSERT INTO t VALUES {rows}"
    fill = "UPDATE t SET b = CASE a WHEN 1 THEN 'a, \"b\"' ELSE '' END"
    project.alembic(SYNC_ENV)
    project.revision("first", sql(create.replace("; ", ";\n")), 'op.drop_table("t")')
    back = sql(f"ALTER TABLE t ADD b text;\n{fill}")
    project.revision("keeps", 'op.drop_column("t", "b")', back)
    project.revision("loses", 'op.drop_column("t", "c")', sql("ALTER TABLE t ADD c text"))
    project.ini(pg_check_column_order=order)

    found = outcomes(project)
    shown = str(project.run("--pg-check").stdout)

    allowed = "passed" if order == "false" else "failed"
    assert found == {"first": "passed", "keeps": allowed, "loses": "failed"}
    assert "missing: row of table public.t: (2,x,0)" in shown


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGKILL, marks=pytest.mark.full)]
)
def test_a_check_drops_what_a_killed_check_left(project: Project, number: signal.Signals) -> None:
    """Without any test that needs a database."""
    project.alembic(SYNC_ENV)
    project.revision("slow", 'op.execute("SELECT pg_sleep(600)")', "pass")
    run = project.pytester.popen(project.command("--pg-check", "-k", "revision"))
    deadline = time.monotonic() + 300
    while not any(name.endswith("_check") for name in project.databases()):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(number)
    run.wait()
    project.revision("slow", "pass", "pass", down=None)

    outcomes(project)

    assert not [name for name in project.databases() if "_tpl_" not in name]
