"""What the items of a run ask, in any request and on any worker; each part is walked once.

Whoever needs a piece that another worker walks takes one that nobody has begun, and waits at last.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pytest_pgtemplate._check import plan, verdicts
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
    """What to check, and how. ``request``: of the template, which keeps what was proved."""

    wanted: list[str]  # revisions
    environment_parts: list[bytes]  # what else decides what they do
    request: TemplateRequest
    workers: int
    directory: Path  # of the run
    during: Callable[[str], AbstractContextManager[None]]  # tells what takes long


class RevisionChecks:
    """The checks of one lineage, as one worker of a run sees them."""

    def __init__(self, context: CheckContext, task: CheckTask) -> None:
        self._context = context
        self._task = task
        self._keys = plan.keys(context.scripts.values(), task.environment_parts)
        self._proved: set[str] = set()
        self._shared_results = SharedResults(task.directory)
        self._found: Verdicts = {}

    def verdict(self, name: str) -> Verdict:
        """Of a revision, or of the models. Raises MigrationError and ServerError."""
        if name in self._plan.proved:
            return verdicts.PASSED
        if name not in self._found:
            pieces = self._plan.pieces
            number = next((n for n, piece in enumerate(pieces) if name in piece), len(pieces) - 1)
            self._found |= self._piece(number)
        return self._found[name]

    def build(self, template: Template, migrations: Migrations) -> Verdict:
        """Whether the template is what the migrations make of nothing, in one go."""
        if not self._is_build():
            context = self._context
            with (
                self._task.during("building the schema from nothing"),
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
        """Remember what was proved with the template, if there is one."""
        name = self._task.request.name
        if self._proved and self._mark(name):
            known = {self._keys[each] for each in self._plan.proved}
            self._context.server.record_proved(name, self._proved | known)

    def _is_build(self) -> bool:
        """It was built like that in this run, or it is known, or it grew from one that was."""
        request = self._task.request
        mark = self._mark((request.unseeded or request).name)
        if mark is not None and mark.run == request.run and not mark.origin:
            return True
        known = [self._mark(request.name), mark, self._mark(mark.origin) if mark else None]
        return any(each is not None and BUILD in each.proved for each in known)

    def _mark(self, name: str) -> Mark | None:
        found = self._context.server.find(name)
        return found.mark if found else None

    @cached_property
    def _plan(self) -> Plan:
        """The same for every worker, whatever is being proved meanwhile."""
        self._shared_results.make("plan", self._make_plan, wait=True)
        return Plan(*self._shared_results.read("plan"))

    def _make_plan(self) -> Plan:
        task, server = self._task, self._context.server
        request = task.request.unseeded or task.request
        marks = [] if request.rebuild else [each.mark for each in server.databases() if each.mark]
        known = {key for mark in marks for key in mark.proved}
        builds = request.rebuild or server.find(request.name) is None
        proved, pieces = plan.make(task.wanted, self._keys, known, task.workers, builds=builds)
        found = () if request.rebuild else find_origins(request, server)
        return Plan(plan.start(found, pieces), pieces, proved)

    def _piece(self, number: int) -> Verdicts:
        others = [n for n in range(len(self._plan.pieces)) if n != number]
        while (found := self._shared_results.read(f"{number}")) is None:
            if not any(self._walk_piece(n, wait=False) for n in (number, *others)):
                with self._task.during(progress_file.WAITING_FOR_CHECKS):
                    self._walk_piece(number, wait=True)
        return {name: Verdict(*data) for name, data in found.items()}

    def _walk_piece(self, number: int, *, wait: bool) -> bool:
        if self._shared_results.is_made(f"{number}"):
            return False
        return self._shared_results.make(f"{number}", partial(self._walk, number), wait=wait)

    def _walk(self, number: int) -> Verdicts:
        pieces = self._plan.pieces
        models = number == len(pieces) - 1  # it comes to the heads
        with self._task.during("checking"):
            found = walk(self._context, pieces[number], self._plan.start, models=models)
        self._proved |= {
            self._keys[name]
            for name, verdict in found.items()
            if name in self._keys and verdict.outcome == "passed"
        }
        return found
