"""Build the template database exactly once per fingerprint.

``migrations`` and ``alembic`` are the kinds of migrations: ``sql_scripts`` runs SQL files,
``alembic_config`` and ``env_py`` read Alembic's configuration, ``revisions`` asks Alembic for its
revisions, and ``created_objects`` notices migrations that have created nothing. ``seed`` adds rows
for the tests. ``template`` builds and publishes. ``lineage`` finds an older template as the
starting point, and ``build_reason`` explains a build.
"""

from pytest_pgtemplate._template import seed
from pytest_pgtemplate._template.alembic import Alembic
from pytest_pgtemplate._template.build_reason import digest_by_name, explain_build, save_parts
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.lineage import Lineage
from pytest_pgtemplate._template.migrations import (
    Command,
    Metadata,
    Migrations,
    SqlFiles,
    migrate,
)
from pytest_pgtemplate._template.revisions import Script, ancestors, heads
from pytest_pgtemplate._template.seed import Seed
from pytest_pgtemplate._template.target import Target, raise_if_failed
from pytest_pgtemplate._template.template import (
    OriginTemplate,
    ScratchDatabase,
    Template,
    TemplateRequest,
    compute_fingerprint,
    ensure_template,
    find_origins,
    nearest_origin,
    read_lineage,
)

__all__ = [
    "Alembic",
    "Command",
    "Lineage",
    "Metadata",
    "Migrations",
    "OriginTemplate",
    "ScratchDatabase",
    "Script",
    "Seed",
    "SqlFiles",
    "Target",
    "Template",
    "TemplateRequest",
    "ancestors",
    "compute_fingerprint",
    "digest_by_name",
    "digest_parts",
    "ensure_template",
    "explain_build",
    "find_origins",
    "heads",
    "migrate",
    "nearest_origin",
    "raise_if_failed",
    "read_lineage",
    "save_parts",
    "seed",
]
