"""Data that tests share, built by each test or once a module: one suite, three ways, side by side.

    python benchmarks/layers.py [--rounds 5] [-n 2]

40 modules of 25 tests; each test needs 3 organizations, 10 users and 30 products, built with the
ORM one after the other, as factories do, and committed. The same fixtures with scope "function",
with scope "module", and with the organizations and users in scope "session". Prints the time of the
whole run, and of its set-up, as medians, and the ratio to the first way, round by round.
"""

from __future__ import annotations

import argparse
import re
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runs import Run, run_pytest

MODULES, TESTS = 40, 25
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = session
asyncio_default_test_loop_scope = session
pg_name = benchmark_layers
"""
MODELS = """
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

class Base(DeclarativeBase): ...

class Organization(Base):
    __tablename__ = "organization"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]

class User(Base):
    __tablename__ = "user_account"
    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organization.id"), index=True)
    email: Mapped[str] = mapped_column(unique=True)

class Product(Base):
    __tablename__ = "product"
    id: Mapped[int] = mapped_column(primary_key=True)
    organization_id: Mapped[int] = mapped_column(ForeignKey("organization.id"), index=True)
    name: Mapped[str]
    price: Mapped[int]

for number in range(97):
    type(f"Other{number}", (Base,), {
        "__tablename__": f"other_{number}", "__annotations__": {"id": Mapped[int]},
        "id": mapped_column(primary_key=True),
    })
"""
CONFTEST = """
import pytest, pytest_asyncio
from pytest_pgtemplate import Metadata
from models import Base, Organization, Product, User

async def create(session, thing):
    session.add(thing)
    await session.flush()
    return thing

SETUP = []

def pytest_runtest_logreport(report):
    if report.when == "setup":
        SETUP.append(report.duration)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"set-up: {{sum(SETUP):.3f}}")

@pytest.fixture(scope="session")
def pg_migrations():
    return Metadata(Base.metadata)

@pytest_asyncio.fixture(scope="{wide}")
async def users({wide_maker}):
    async with {wide_maker}{attribute}.begin() as session:
        organizations = [
            (await create(session, Organization(name=f"organization {{n}}"))).id for n in range(3)
        ]
        for n in range(10):
            user = User(organization_id=organizations[n % 3], email=f"{{n}}@example.org")
            await create(session, user)
    return organizations

@pytest_asyncio.fixture(scope="{scope}")
async def catalogue({maker}, users):
    async with {maker}{attribute}.begin() as session:
        for n in range(30):
            product = Product(organization_id=users[n % 3], name=f"product {{n}}", price=n)
            await create(session, product)
    return users
"""
TEST = """
import pytest
from sqlalchemy import delete, func, select
from models import Organization, Product, User

@pytest.mark.parametrize("n", range({tests}))
async def test_products(n, catalogue, pg_session):
    assert await pg_session.scalar(select(func.count()).select_from(Product)) == 30
    pg_session.add(Product(organization_id=catalogue[0], name="mine", price=n))
    await pg_session.execute(delete(Product).where(Product.price == n))
    await pg_session.commit()
"""
WAYS = {
    "function": {"scope": "function", "wide": "function"},
    "module": {"scope": "module", "wide": "module"},
    "session": {"scope": "module", "wide": "session"},
}


def lay_out(root: Path, scopes: Mapping[str, str], modules: int = MODULES) -> None:
    scope, wide = scopes["scope"], scopes["wide"]
    shared = scope != "function"
    maker = "pg_shared" if shared else "pg_sessionmaker"
    (root / "pytest.ini").write_text(INI)
    (root / "models.py").write_text(MODELS)
    (root / "conftest.py").write_text(
        CONFTEST.format(
            scope=scope,
            wide=wide,
            maker=maker,
            wide_maker=maker,
            attribute=".sessionmaker" if shared else "",
        )
    )
    for number in range(modules):
        (root / f"test_{number:02}.py").write_text(TEST.format(tests=TESTS))


def run(
    root: Path,
    workers: str,
    modules: int = MODULES,
    environment: Mapping[str, str] | None = None,
    server: int | None = None,
) -> tuple[Run, float]:
    """The run, and seconds of all set-up in it; ``server`` is as for ``run_pytest``."""
    plugins = ("xdist", "asyncio", "pgtemplate")
    arguments = ("-n", workers, "--dist", "loadscope")
    passed = modules * TESTS
    done = run_pytest(
        root, *arguments, plugins=plugins, passed=passed, environment=environment, server=server
    )
    [setup] = re.findall(r"^set-up: ([\d.]+)$", done.output, re.MULTILINE)
    return done, float(setup)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-n", dest="workers", default="2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        roots = {way: Path(directory) / way for way in WAYS}
        for way, root in roots.items():
            root.mkdir()
            lay_out(root, WAYS[way])
            run(root, arguments.workers)  # the template is there from now on
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way, root in roots.items():
                done, setup = run(root, arguments.workers)
                found[way].append((done.seconds, setup))
    print(f"{MODULES * TESTS} tests, -n {arguments.workers}, medians of {arguments.rounds} rounds")
    print("scope       whole run s  ratio   set-up s  ratio")
    for way, measured in found.items():
        pairs = list(zip(measured, found["function"], strict=True))
        print(
            f"{way:10} {statistics.median(whole for whole, _ in measured):12.2f}"
            f" {statistics.median(mine[0] / first[0] for mine, first in pairs):6.2f}"
            f" {statistics.median(setup for _, setup in measured):10.2f}"
            f" {statistics.median(mine[1] / first[1] for mine, first in pairs):6.2f}"
        )


if __name__ == "__main__":
    main()
