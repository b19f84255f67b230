"""``pg_engine_options`` and ``pg_session_options``: the application's own keywords."""

from __future__ import annotations

import pytest

from support.projects import Project

CONFTEST = """
import json
import pytest
from sqlalchemy import JSON, Column, Integer, MetaData, Table
from sqlalchemy.ext.asyncio import AsyncSession

from pytest_pgtemplate import Metadata

metadata = MetaData()
item = Table("item", metadata, Column("id", Integer, primary_key=True), Column("tags", JSON))

class OurSession(AsyncSession):
    pass

def dumps(value):
    return json.dumps(sorted(value))

@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(metadata)

@pytest.fixture(scope="session")
def pg_engine_options():
    return {"json_serializer": dumps}

@pytest.fixture(scope="session")
def pg_session_options():
    return {"class_": OurSession, "autoflush": False, "expire_on_commit": True}
"""
TESTS = """
import pytest
from conftest import OurSession, item
from sqlalchemy import orm, select

TAGS = item.insert().values(tags={"b", "a"})  # a set, which plain JSON does not know
SORTED = select(item.c.tags)

@pytest.fixture(scope="module")
async def shared(pg_shared):
    async with pg_shared.sessionmaker.begin() as session:
        assert type(session) is OurSession
        await session.execute(TAGS)
    with pg_shared.sync_sessionmaker.begin() as session:
        assert not session.autoflush
        session.execute(TAGS)

@pytest.mark.parametrize(
    "n", [0, pytest.param(1, marks=pytest.mark.pg(isolation="rollback"))]
)
async def test_async(n, shared, pg_session, pg_connection):
    assert type(pg_session) is OurSession
    assert not pg_session.sync_session.autoflush
    assert pg_session.sync_session.expire_on_commit
    await pg_session.execute(TAGS)
    await pg_session.commit()
    await pg_connection.execute(TAGS)
    assert (await pg_connection.scalars(SORTED)).all() == [["a", "b"]] * 4

@pytest.mark.parametrize(
    "n", [0, pytest.param(1, marks=pytest.mark.pg(isolation="rollback"))]
)
def test_sync(n, pg_sync_session):
    assert isinstance(pg_sync_session, orm.Session)
    assert not pg_sync_session.autoflush
    pg_sync_session.execute(TAGS)
    assert pg_sync_session.scalars(SORTED).first() == ["a", "b"]
"""


def test_every_engine_and_session_keeps_them(project: Project) -> None:
    project.ini(
        asyncio_mode="auto",
        asyncio_default_fixture_loop_scope="session",
        asyncio_default_test_loop_scope="session",
        filterwarnings="error",
    )
    project.write("conftest.py", CONFTEST)
    project.write("test_them.py", TESTS)

    result = project.pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")

    result.assert_outcomes(passed=4)


@pytest.mark.parametrize(
    ("fixture", "options", "test", "said"),
    [
        ("engine", {"pool_size": 9, "poolclass": None}, "pg_sync_engine", "pool_size, poolclass"),
        ("engine", {"creator": None}, "pg_shared", "gives creator"),
        ("engine", {"isolation_level": "AUTOCOMMIT"}, "pg_sync_session", "isolation_level="),
        (
            "engine",
            {"execution_options": {"isolation_level": "AUTOCOMMIT"}},
            "pg_sync_session",
            "isolation_level=",
        ),
        ("engine", {"jsn_serializer": None}, "pg_sync_engine", "jsn_serializer"),
        ("session", {"bind": None}, "pg_sync_session", "contains bind"),
    ],
)
def test_what_would_end_the_isolation_is_refused(
    project: Project, fixture: str, options: dict[str, object], test: str, said: str
) -> None:
    project.alembic()
    project.write(
        "conftest.py",
        f"""
        import pytest

        @pytest.fixture(scope="session")
        def pg_{fixture}_options():
            return {options!r}
        """,
    )
    project.write("test_it.py", f"def test_it({test}):\n    pass\n")

    result = project.run("--pg-isolation=rollback")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*pg_{fixture}_options *{said}*", "*HINT: *"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_autocommit_is_fine_where_nothing_is_rolled_back(project: Project) -> None:
    project.alembic()
    project.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def pg_engine_options():
            return {"isolation_level": "AUTOCOMMIT"}
        """,
    )
    project.write("test_it.py", "def test_it(pg_sync_session):\n    pass\n")

    project.run().assert_outcomes(passed=1)
