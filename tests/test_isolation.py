"""Runs of pytest: leaks, changed schemas, the ``pg`` mark, and databases that are kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_pgtemplate import _urls
from support.programs import load_program
from support.projects import ITEM, Project, execute, query, unique

# A connection of the application, which no fixture closes.
LEAK = load_program("isolation/leak.py")

NEXT = """
def test_the_next(pg_sync_session):
    from sqlalchemy import text
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
"""


@pytest.fixture
def items(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.prepare_template()
    return project


@pytest.fixture
def plain(items: Project) -> Iterator[str]:
    """A role that has only CREATEDB, and is a member of a group."""
    role = unique("pgt_plain")
    execute(
        items.server.url,
        f"CREATE ROLE {role} LOGIN CREATEDB NOINHERIT PASSWORD 'secret'",
        f"CREATE ROLE {role}_group",
        f"GRANT {role}_group TO {role}",
    )
    yield role
    items.clean()
    execute(items.server.url, f"DROP ROLE {role}", f"DROP ROLE {role}_group")


@pytest.mark.parametrize("following", [NEXT, ""], ids=["before another test", "in the last test"])
def test_a_leak_fails_the_test_that_left_it(items: Project, following: str) -> None:
    items.write("test_leak.py", LEAK + "def test_leaks(pg): write_and_leave(pg)\n" + following)

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(passed=1 + bool(following), errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_leaks*", "*idle in transaction*leaky*"]
    )
    assert result.stdout.str().count("HINT:") == 1
    assert items.databases() == [name for name in items.databases() if "_tpl_" in name]


def test_a_leak_can_be_a_warning(items: Project) -> None:
    items.ini(pg_on_leak="warn")
    items.write("test_leak.py", LEAK + "def test_leaks(pg): write_and_leave(pg)\n" + NEXT)

    # In a process of its own: this one turns warnings into errors.
    items.pytester.run(*items.command("-p", "no:xdist")).assert_outcomes(passed=2, warnings=1)


LATE = """
def test_leaves(pg):
    connection = psycopg.connect(pg.dsn, application_name="leaky")
    connection.execute("SELECT lo_from_bytea(0, 'of an earlier test')")
    open_connections.append(connection)

def test_commits(pg):
    open_connections[0].commit()
    open_connections[0].close()
"""


def test_what_commits_during_a_later_test_is_reported_there(items: Project) -> None:
    items.write("test_late.py", LEAK + LATE + NEXT)

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_commits*",
            "during *test_commits, a transaction committed that an earlier test had left open:",
            "*idle in transaction*leaky*of an earlier test*",
        ]
    )


def test_a_transaction_that_only_read_is_left_alone(items: Project) -> None:
    items.write(
        "test_read.py",
        LEAK + load_program("isolation/a_transaction_that_only_read_is_left_alone.py"),
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=2)


CHANGES = """
from sqlalchemy import text

def test_changes_the_schema(pg_sync_session):
    pg_sync_session.execute(text("ALTER TABLE item ADD COLUMN extra int DEFAULT 1"))
    pg_sync_session.commit()
""" + NEXT.replace("SELECT name", "SELECT item::text").replace("reference", "(1,reference)")


def test_a_changed_schema_is_re_cloned_and_reported(items: Project) -> None:
    items.write("test_schema.py", CHANGES)

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*re-cloned after *test_changes_the_schema*"])


def test_a_changed_schema_can_be_an_error(items: Project) -> None:
    items.ini(pg_on_ddl="error")
    items.write("test_schema.py", CHANGES)

    items.run("-p", "no:xdist").assert_outcomes(passed=2, errors=1)


def test_the_mark_sets_isolation_and_scope(items: Project) -> None:
    items.write(
        "test_mark.py",
        load_program("isolation/the_mark_says_how_and_when.py"),
    )

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(passed=5)
    result.stdout.no_fnmatch_line("*re-cloned*")


@pytest.mark.parametrize("mark", ["'clone'", "isolation='colne'", "scope='package'"])
def test_an_invalid_mark_fails_its_test_once(items: Project, mark: str) -> None:
    items.write(
        "test_mark.py", f"import pytest\n@pytest.mark.pg({mark})\ndef test_it(pg): pass\n" + NEXT
    )

    result = items.run("-p", "no:xdist")

    result.assert_outcomes(passed=1, errors=1)
    assert result.stdout.str().count("HINT:") == 1


def test_keep_failed_keeps_the_database_of_a_failed_test(items: Project) -> None:
    failing = "from sqlalchemy import text\n" + NEXT.replace("test_the_next", "test_fails").replace(
        "assert",
        "pg_sync_session.execute(text(\"INSERT INTO item (name) VALUES ('kept')\"))\n"
        "    pg_sync_session.commit()\n    assert",
    )
    items.write("test_kept.py", failing + NEXT)

    result = items.run("-p", "no:xdist", "--pg-keep-failed")

    result.assert_outcomes(passed=1, failed=1)
    [kept] = [name for name in items.databases() if "_tpl_" not in name]
    result.stdout.fnmatch_lines([f"*kept *test_fails: *{kept}*"])


COMMENTS = load_program("isolation/comments.py")


@pytest.mark.parametrize("option", ["--pg-keep-failed", "--pg-isolation=clone"])
def test_a_test_may_comment_on_its_database(items: Project, option: str) -> None:
    """The plugin stores its mark in the comment."""
    items.write("test_comments.py", COMMENTS + NEXT)

    items.run(option).assert_outcomes(passed=1, failed=1)

    kept = [each for each in items.server.databases() if f"{items.prefix}_" in each.name]
    assert {each.mark.kind for each in kept if each.mark} <= {"template", "spare", "kept"}
    assert len([each for each in kept if each.mark and each.mark.kind == "kept"]) == (
        option == "--pg-keep-failed"
    )


WRITES = NEXT.replace("test_the_next", "test_writes") + (
    """    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('more')"))
    pg_sync_session.commit()
"""
)
# The owner of a database may revoke its own privilege. Then the plugin cannot create its schema.
NO_SCHEMAS = '''
op.execute("""
    DO $$ BEGIN
        EXECUTE format('REVOKE CREATE ON DATABASE %I FROM %I', current_database(), current_user);
    END $$
""")
'''


def test_the_summary_names_the_privileges_that_the_role_lacks(items: Project, plain: str) -> None:
    url = _urls.render(items.server.url.set(username=plain, password="secret"))
    items.write("test_it.py", WRITES + NEXT)

    as_superuser = items.run("-p", "no:xdist")
    result = items.run("-p", "no:xdist", "--pg-url", url)

    as_superuser.assert_outcomes(passed=2)
    as_superuser.stdout.no_fnmatch_line("*role may not*")
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("the role may not create event triggers") == 1

    items.revision("two", NO_SCHEMAS)
    result = items.run_workers("--pg-url", url)

    result.assert_outcomes(passed=2)
    assert result.stdout.str().count("the role may not create triggers") == 1


SHARING = """
import pytest
from sqlalchemy import text

INSERT = text("INSERT INTO item (name) VALUES ('mine')")

@pytest.fixture
def wrote(pg_sync_session):
    pg_sync_session.execute(INSERT)
    pg_sync_session.commit()
"""
SCOPES = {
    "none": """
class TestShared:
    pytestmark = pytest.mark.pg(scope="class")
    def test_writes(self, wrote): ...
    @pytest.mark.pg(isolation="none")
    def test_reads(self, pg_sync_session): ...
""",
    "clone": """
class TestShared:
    pytestmark = pytest.mark.pg(scope="class")
    @pytest.mark.pg(isolation="clone")
    def test_writes(self, wrote): ...
    def test_reads(self, pg_sync_session): ...
""",
}


@pytest.mark.parametrize("kind", SCOPES)
def test_at_the_end_of_a_scope_the_strongest_isolation_of_its_tests_applies(
    items: Project, kind: str
) -> None:
    items.write("test_shared.py", SHARING + SCOPES[kind] + NEXT)

    result = items.run("-p", "no:xdist", "--pg-trace=trace.json")

    result.assert_outcomes(passed=3)
    trace = (items.root / "trace.json").read_text("utf-8")
    assert ("isolation is clone" in trace) == (kind == "clone")


def test_the_state_of_a_failed_test_is_kept_although_the_last_of_its_scope_passes(
    items: Project,
) -> None:
    items.write(
        "test_shared.py",
        SHARING
        + """
pytestmark = pytest.mark.pg(scope="module")
def test_fails(wrote): assert False
def test_passes(pg_sync_session): ...
""",
    )

    result = items.run("-p", "no:xdist", "--pg-keep-failed")

    result.assert_outcomes(passed=1, failed=1)
    [kept] = [
        each
        for each in items.server.databases()
        if each.name.startswith(items.prefix) and each.mark and each.mark.kind == "kept"
    ]
    result.stdout.fnmatch_lines([f"kept as: {kept.name}", "*kept test_shared.py::test_fails: *"])
    rows = query(items.server.url, "SELECT name FROM item ORDER BY id", database=kept.name)
    assert [row["name"] for row in rows] == ["reference", "mine"]


def test_the_teardown_of_a_fixture_follows_the_clone_after_the_last_test(items: Project) -> None:
    """It finds its rows, in whatever order the tests run."""
    items.write(
        "test_shared.py",
        SHARING + load_program("isolation/clone_before_the_teardown.py"),
    )

    items.run("-p", "no:xdist").assert_outcomes(passed=1)


VAULT = """
op.execute("CREATE SCHEMA vault AUTHORIZATION {group}")
op.execute("CREATE SCHEMA closed AUTHORIZATION {group}; SET ROLE {group}")
op.execute("CREATE TABLE vault.secret (id serial); CREATE TABLE vault.shared (id int)")
op.execute("GRANT USAGE ON SCHEMA vault TO PUBLIC; GRANT SELECT ON vault.shared TO PUBLIC")
op.execute("CREATE TABLE closed.granted (id int)")
op.execute("GRANT SELECT ON closed.granted TO PUBLIC")
op.execute("REVOKE SELECT ON vault.secret, vault.secret_id_seq FROM CURRENT_USER")
op.execute("REVOKE USAGE ON SCHEMA closed FROM CURRENT_USER; RESET ROLE")
"""


@pytest.mark.parametrize("tracking", ["triggers", "scan"])
def test_the_summary_names_what_the_role_may_not_read(
    items: Project, plain: str, tracking: str
) -> None:
    """No reset notices what a SECURITY DEFINER function, or another login, writes there."""
    items.ini(pg_tracking=tracking)
    items.revision("two", VAULT.format(group=f"{plain}_group"))
    items.write("test_it.py", NEXT)

    as_superuser = items.run("-p", "no:xdist")
    url = _urls.render(items.server.url.set(username=plain, password="secret"))
    result = items.run("-p", "no:xdist", "--pg-url", url)

    as_superuser.assert_outcomes(passed=1)
    as_superuser.stdout.no_fnmatch_line("*may not read*")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "  no reset restores closed.granted, vault.secret, vault.secret_id_seq:"
            " the role may not read them"
        ]
    )


HELD_BY_A_SUPERUSER = """
held = []

def pytest_runtest_logfinish():
    while held:
        held.pop().close()
"""
WITHOUT_A_FIXTURE = load_program("isolation/without_a_fixture.py")


def test_a_database_that_could_not_be_reset_is_re_cloned(
    items: Project, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = items.server.url.set(username=plain, password="secret", drivername="postgresql+psycopg")
    monkeypatch.setenv("SUPERUSER", _urls.dsn(items.server.url))
    items.write("conftest.py", HELD_BY_A_SUPERUSER)
    items.ini(pg_autouse="true", pg_env="URL", pythonpath=".")
    items.write("test_it.py", WITHOUT_A_FIXTURE)

    result = items.pytester.run(*items.command("-p", "no:xdist", "--pg-url", _urls.render(url)))

    result.assert_outcomes(passed=2, errors=1)


INTERRUPTED = {
    "test": "def test_it(pg):\n    write_and_leave(pg)\n    raise KeyboardInterrupt\n",
    "teardown": """
@pytest.fixture
def interrupted(pg):
    yield
    raise KeyboardInterrupt

def test_it(pg, interrupted):
    write_and_leave(pg)
""",
}


@pytest.mark.parametrize("where", INTERRUPTED)
def test_an_interrupted_test_reports_no_leak(items: Project, where: str) -> None:
    items.write("test_it.py", LEAK + INTERRUPTED[where] + NEXT)

    result = items.pytester.run(*items.command("-p", "no:xdist"))

    assert result.ret == pytest.ExitCode.INTERRUPTED
    output = f"{result.stdout}{result.stderr}"
    assert "KeyboardInterrupt" in output
    assert "left a transaction open" not in output
    assert "Failed" not in output
    assert [name for name in items.databases() if "_tpl_" not in name] == []


def test_pg_keep_keeps_the_writes_of_the_last_test(items: Project) -> None:
    items.write("test_it.py", NEXT + WRITES)

    items.run("-p", "no:xdist", "--pg-keep").assert_outcomes(passed=2)

    [kept] = [name for name in items.databases() if "_tpl_" not in name]
    rows = query(items.server.url, "SELECT name FROM item ORDER BY id", database=kept)
    assert [row["name"] for row in rows] == ["reference", "more"]
