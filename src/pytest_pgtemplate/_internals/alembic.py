"""Internals of Alembic, tested with 1.13 to 1.20. Only child processes import it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import HeadMaintainer, MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionMap


def load_scripts(directory: ScriptDirectory) -> list[Script]:
    """Import every revision file, and let ``directory`` use the result.

    ``ScriptDirectory.walk_revisions`` would do the same. But it only warns if two files declare the
    same revision, and drops one of them.
    """
    scripts = list(directory._load_revisions())
    directory.revision_map = RevisionMap(lambda: iter(scripts))
    return scripts


def version_directories(directory: ScriptDirectory) -> list[str]:
    """The absolute paths of the directories with revision files. No public attribute has them."""
    return [str(each) for each in directory._version_locations]


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
    """Make ``options`` override those that env.py passes to ``context.configure()``.

    ``configured`` is called after that, before anything is written. The keywords of env.py override
    those of ``EnvironmentContext`` (measured with ``on_version_apply``), and Alembic has no hook
    between configuring and migrating. So ``configure`` is replaced on the instance.
    """

    def configure(*arguments: Any, **given: Any) -> None:
        EnvironmentContext.configure(context, *arguments, **{**given, **options})
        configured(context.get_context())

    context.configure = configure  # type: ignore[method-assign]


def run_step(context: MigrationContext, step: Any, arguments: dict[str, Any]) -> None:
    """Run a step within the open transaction, and record it in the version table.

    ``run_migrations`` does the same, in a transaction that it commits.
    """
    step.migration_fn(**arguments)
    heads = HeadMaintainer(context, context.get_current_heads())
    heads.update_to_step(step)
    for callback in context.on_version_apply_callbacks:
        callback(ctx=context, step=step.info, heads=set(heads.heads), run_args=arguments)


def forget_created_types(context: MigrationContext) -> None:
    """Let the next step create its types again, even if an earlier step has created them.

    A ``MigrationContext`` remembers in ``impl.memo`` which ENUM types it has created, for all steps
    of its run. ``alembic upgrade`` and ``alembic downgrade`` begin with an empty one.
    """
    context.impl.memo.clear()


class AutocommitRefusedError(Exception):
    """A migration asked for a block outside of a transaction."""


@contextmanager
def autocommit_refused(context: MigrationContext) -> Iterator[None]:
    """Raise AutocommitRefusedError where a migration enters ``autocommit_block``.

    The block commits the transaction that it is in. Alembic has no event before that.
    """

    def refuse() -> None:
        raise AutocommitRefusedError

    context.autocommit_block = refuse  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del context.autocommit_block


def record_arguments(context: MigrationContext) -> None:
    """Record the keywords that env.py gives to ``run_migrations``, for ``recorded_arguments``.

    Each migration function gets them. They are passed on and kept nowhere, so ``run_migrations`` is
    replaced on the instance. Call it when env.py has configured the context.
    """
    run_migrations = context.run_migrations

    def run(**given: Any) -> None:
        context.opts[_ARGUMENTS] = given
        run_migrations(**given)

    context.run_migrations = run  # type: ignore[method-assign]


def recorded_arguments(context: MigrationContext) -> dict[str, Any]:
    """Return the keywords of ``run_migrations``, which is running."""
    arguments: dict[str, Any] = context.opts[_ARGUMENTS]
    return arguments


_ARGUMENTS = "pgtemplate_arguments"
