"""Compute the verdicts of a run's check items, in any order and on any worker.

The revisions are divided into pieces, and each piece is walked once per run. If a worker needs a
piece that another worker walks, it first walks the free pieces, and then waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pytest_pgtemplate._check import plan, verdicts
from pytest_pgtemplate._check.known_failures import KnownFailures
from pytest_pgtemplate._check.plan import BUILD, Plan
from pytest_pgtemplate._check.shared_results import SharedResults
from pytest_pgtemplate._check.verdicts import Verdict
from pytest_pgtemplate._check.walk import CheckContext, Verdicts, database, walk
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._reset import compare_databases
from pytest_pgtemplate._server import Mark
from pytest_pgtemplate._template import Migrations, Template, TemplateRequest, find_origins, migrate


@dataclass(frozen=True)
class CheckTask:
    """What to check. ``request``: of the template whose mark stores what was proved."""

    wanted: list[str]  # names of revisions
    environment_parts: Callable[[], list[bytes]]  # what else determines the effect of a revision
    request: TemplateRequest
    workers: int
    directory: Path  # shared by the workers of the run
    failures: Path  # in the user's cache: what failed before
    during: Callable[[str], AbstractContextManager[None]]  # reports a slow step


class RevisionChecks:
    """The checks of one lineage in one worker."""

    def __init__(self, context: CheckContext, task: CheckTask) -> None:
        self._context = context
        self._task = task
        self._keys = self._read_keys()
        self._proved: set[str] = set()
        self._shared_results = SharedResults(task.directory)
        self._failures = KnownFailures(task.failures, self._keys)
        self._found: Verdicts = {}

    def verdict(self, name: str) -> Verdict:
        """Return the verdict on a revision or the models. Raises MigrationError, ServerError."""
        if name in self._plan.proved:
            return verdicts.PASSED
        if name not in self._found:
            if name in self._plan.failed:
                return Verdict("failed", self._plan.failed[name])
            pieces = self._plan.pieces
            number = next((n for n, piece in enumerate(pieces) if name in piece), len(pieces) - 1)
            self._found |= self._piece(number)
        return self._found[name]

    def build(self, template: Template, migrations: Migrations) -> Verdict:
        """Compare the template with a build from an empty database."""
        if not self._is_build():
            context = self._context
            with (
                self._task.during("building the schema from an empty database"),
                database(context, template.name) as old,
                database(context, suffix="2") as new,
            ):
                migrate(migrations, context.target(new))
                urls = [context.server.url.set(database=name) for name in (old, new)]
                changes = compare_databases(*urls, timeout=context.server.timeout)
            if changes:
                return verdicts.build_verdict(template.name, changes)
        self._proved.add(BUILD)
        return verdicts.PASSED

    def close(self) -> None:
        """Store in the mark of the template, if it exists, what was proved."""
        name = self._task.request.name
        if self._proved and self._mark(name):
            known = {self._keys[revision] for revision in self._plan.proved}
            self._context.server.record_proved(name, self._proved | known)

    def _is_build(self) -> bool:
        """Whether this run built the template from an empty database, or a mark proves it equal."""
        request = self._task.request
        mark = self._mark((request.unseeded or request).name)
        if mark is not None and mark.run == request.run and not mark.origin:
            return True
        known = [self._mark(request.name), mark, self._mark(mark.origin) if mark else None]
        return any(mark is not None and BUILD in mark.proved for mark in known)

    def _mark(self, name: str) -> Mark | None:
        found = self._context.server.find(name)
        return found.mark if found else None

    @cached_property
    def _plan(self) -> Plan:
        # Made by one worker and shared, because marks can change during the run.
        self._shared_results.compute("plan", self._make_plan, wait=True)
        return Plan(*self._shared_results.read("plan"))

    def _make_plan(self) -> Plan:
        task, server = self._task, self._context.server
        request = task.request.unseeded or task.request
        marks = [] if request.rebuild else [db.mark for db in server.databases() if db.mark]
        known = {key for mark in marks for key in mark.proved}
        builds = request.rebuild or server.find(request.name) is None
        failed = {} if request.rebuild else self._failures.find(task.wanted)
        wanted = [name for name in task.wanted if name not in failed]
        proved, pieces = plan.make(wanted, self._keys, known, task.workers, builds=builds)
        found = () if request.rebuild else find_origins(request, server)
        texts = {name: verdict.text for name, verdict in failed.items()}
        return Plan(plan.start(found, pieces), pieces, proved, texts)

    def _piece(self, number: int) -> Verdicts:
        others = [n for n in range(len(self._plan.pieces)) if n != number]
        while (found := self._shared_results.read(f"{number}")) is None:
            if not any(self._walk_piece(n, wait=False) for n in (number, *others)):
                with self._task.during(progress_file.WAITING_FOR_CHECKS):
                    self._walk_piece(number, wait=True)
        return {name: Verdict(*data) for name, data in found.items()}

    def _walk_piece(self, number: int, *, wait: bool) -> bool:
        if self._shared_results.is_computed(f"{number}"):
            return False
        return self._shared_results.compute(f"{number}", partial(self._walk, number), wait=wait)

    def _walk(self, number: int) -> Verdicts:
        pieces = self._plan.pieces
        models = number == len(pieces) - 1  # only the last piece ends at the heads
        with self._task.during("checking"):
            found = walk(self._context, pieces[number], self._plan.start, models=models)
        unchanged = self._unchanged(found)
        self._proved |= {
            self._keys[name] for name, verdict in unchanged.items() if verdict.outcome == "passed"
        }
        self._failures.record(unchanged)
        return found

    def _unchanged(self, found: Verdicts) -> Verdicts:
        """Return the verdicts on revisions whose files did not change during the check."""
        try:
            now = self._read_keys()
        except FileNotFoundError:  # another branch was checked out during the check
            return {}
        return {
            name: found[name]
            for name, key in self._keys.items()
            if name in found and now.get(name) == key
        }

    def _read_keys(self) -> dict[str, str]:
        """Read all files, and return the digest of each revision."""
        return plan.keys(self._context.scripts.values(), self._task.environment_parts())
