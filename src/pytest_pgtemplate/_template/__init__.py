"""What builds the schema, and how it comes to be exactly once.

``migrations`` and ``alembic`` are the kinds of migrations, ``revisions`` reads the latter's files,
``seed`` adds rows for tests, and ``template`` keeps the result under the fingerprint of all that
decided it; ``lineage`` tells which older one is a good start, ``reasons`` why none was there.
"""

from pytest_pgtemplate._template import seed
from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.migrations import (
    Command,
    Metadata,
    Migrations,
    SqlFiles,
    Target,
    judge,
    migrate,
)
from pytest_pgtemplate._template.reasons import made_of, remember, why
from pytest_pgtemplate._template.revisions import Script, ancestors, heads
from pytest_pgtemplate._template.seed import Seed
from pytest_pgtemplate._template.template import (
    Order,
    Origin,
    Scratch,
    Template,
    ensure,
    fingerprint,
    lineage_of,
    nearest,
    origins,
)

__all__ = [
    "Alembic",
    "Command",
    "Metadata",
    "Migrations",
    "Order",
    "Origin",
    "Scratch",
    "Script",
    "Seed",
    "SqlFiles",
    "Target",
    "Template",
    "ancestors",
    "digest_parts",
    "ensure",
    "fingerprint",
    "heads",
    "judge",
    "lineage_of",
    "made_of",
    "migrate",
    "nearest",
    "origins",
    "remember",
    "seed",
    "why",
]
