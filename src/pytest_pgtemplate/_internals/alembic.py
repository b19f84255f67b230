"""Internals of Alembic, tested with 1.13 to 1.20. Only child processes import it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory


def upgrade_steps(script: ScriptDirectory, target: str, current: Any) -> list[Any]:
    """The steps of ``alembic upgrade target`` from the revisions ``current``.

    ``alembic.command.upgrade`` runs them at once. This method makes its plan. Only with the plan
    can progress be shown and single steps be checked.
    """
    return list(script._upgrade_revs(target, current))


def downgrade_step(script: ScriptDirectory, step: Any) -> Any:
    """The step that undoes an upgrade. ``alembic downgrade`` makes it in the same way."""
    return step.downgrade_from_script(script.revision_map, step.revision)


def in_external_transaction(context: MigrationContext) -> bool:
    """Whether env.py has begun a transaction around all migrations before ``configure``."""
    return context._in_external_transaction


def override_configure(
    context: EnvironmentContext,
    options: dict[str, Any],
    configured: Callable[[MigrationContext], None],
) -> None:
    """Let ``options`` count more than those that env.py gives to ``context.configure()``.

    ``configured`` is called after that, before anything is written. Whatever ``EnvironmentContext``
    gets, env.py's own keywords win (measured with ``on_version_apply``), and Alembic calls nothing
    between configuring and migrating. So ``configure`` is replaced on the instance.
    """

    def configure(*arguments: Any, **given: Any) -> None:
        EnvironmentContext.configure(context, *arguments, **{**given, **options})
        configured(context.get_context())

    context.configure = configure  # type: ignore[method-assign]
