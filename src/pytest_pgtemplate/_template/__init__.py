"""What builds the schema, and how it comes to be exactly once.

``migrations`` and ``alembic`` are the kinds of migrations, ``seed`` adds rows for tests, and
``template`` keeps the result under the fingerprint of all that decided it; ``lineage`` tells
which older one is a good start.
"""

from pytest_pgtemplate._template import seed
from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.migrations import (
    Command,
    Metadata,
    Migrations,
    SqlFiles,
    Target,
    migrate,
)
from pytest_pgtemplate._template.seed import Seed
from pytest_pgtemplate._template.template import (
    Order,
    Scratch,
    Template,
    ensure,
    fingerprint,
    lineage_of,
)

__all__ = [
    "Alembic",
    "Command",
    "Metadata",
    "Migrations",
    "Order",
    "Scratch",
    "Seed",
    "SqlFiles",
    "Target",
    "Template",
    "ensure",
    "fingerprint",
    "lineage_of",
    "migrate",
    "seed",
]
