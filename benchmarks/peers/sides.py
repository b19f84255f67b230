"""The sides of the comparison, each with its configuration from ``configurations``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


@dataclass(frozen=True)
class Side:
    """``name`` is that of its configuration; ``plugins`` are what pytest loads for it."""

    name: str
    label: str
    distribution: str = "sqlalchemy"
    plugins: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """Of the distribution; None where it is not installed."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


FLOOR = Side("floor", "floor: nothing isolated")
PGTEMPLATE = Side("pgtemplate", "pytest-pgtemplate", "pytest-pgtemplate", ("pgtemplate",))
CLASSIC = Side("classic", "classic conftest, TRUNCATE")
SAVEPOINT = Side("savepoint", "classic conftest, savepoints")
PYTEST_POSTGRESQL = Side(
    "pytest_postgresql", "pytest-postgresql", "pytest-postgresql", ("pytest_postgresql",)
)
MOCK_RESOURCES = Side(
    "pytest_mock_resources",
    "pytest-mock-resources",
    "pytest-mock-resources",
    ("pytest_mock_resources",),
)
PGTESTDBPY = Side("pgtestdbpy", "pgtestdbpy", "pgtestdbpy")
SQLALCHEMY_ALEMBIC = Side(
    "pytest_sqlalchemy_alembic",
    "pytest-sqlalchemy-alembic",
    "pytest-sqlalchemy-alembic",
    ("sqlalchemy-alembic",),
)
DJANGO = Side("pytest_django", "pytest-django, flush", "pytest-django", ("django",))

# They make a database for each test, which takes up to a second.
DATABASE_PER_TEST = (PYTEST_POSTGRESQL, MOCK_RESOURCES, PGTESTDBPY)

EVERY_SIDE = (
    FLOOR,
    PGTEMPLATE,
    SAVEPOINT,
    CLASSIC,
    PYTEST_POSTGRESQL,
    MOCK_RESOURCES,
    PGTESTDBPY,
    SQLALCHEMY_ALEMBIC,
    DJANGO,
)
