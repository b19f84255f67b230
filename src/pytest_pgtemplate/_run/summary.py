"""The line in pytest's header, and the lines of the summary. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate._run.server_limits import exhausted_servers
from pytest_pgtemplate._settings import Settings

if TYPE_CHECKING:
    from pytest_pgtemplate._run.stats import DatabaseStats


def header_line(settings: Settings, sources: dict[str, str]) -> str:
    """Return the header line: the prefix, the kind of server, and the source of each option."""
    set_by: dict[str, list[str]] = {}
    for name, source in sources.items():
        set_by.setdefault(source, []).append(name)
    origins = "; ".join(f"{', '.join(names)} from {source}" for source, names in set_by.items())
    where = "the server in pg_url" if settings.server.urls else "the embedded server"
    databases = f"{settings.template.prefix}_*"
    return f"pgtemplate: databases {databases} on {where}{origins and f' ({origins})'}"


WORTH_A_HINT = 1.0  # seconds spent on shared data that other workers set up, too
MAX_LINES = 10  # of one kind, without --pg-stats


def summary_lines(stats: list[dict[str, Any]], settings: Settings) -> Iterator[str]:
    """Yield a line for each database and, with --pg-stats, a line for each worker.

    ``stats``: a ``DatabaseStats.as_dict()`` of each worker and database.
    """
    from pytest_pgtemplate._run.stats import DatabaseStats

    workers = [DatabaseStats(**values) for values in stats]
    for name in ("", *settings.databases):
        if stats_of_database := [stats for stats in workers if stats.database == name]:
            yield from _database_lines(stats_of_database, settings)
    yield from _unreachable_servers(settings.server.unreachable)
    yield from (f"  {line}" for line in exhausted_servers(workers))


def _unreachable_servers(urls: tuple[str, ...]) -> Iterator[str]:
    from pytest_pgtemplate._urls import server_address

    for url in urls:
        host, port = server_address.parse(url).host_and_port
        yield f"  the server at {host}:{port} does not answer; its workers used another server"


def _database_lines(workers: list[DatabaseStats], settings: Settings) -> Iterator[str]:
    from pytest_pgtemplate._display.tables import pluralize

    name, every_worker = workers[0].database, settings.output.stats
    times = sum(stats.resets for stats in workers)
    reset_time = sum(stats.reset_time for stats in workers)
    built = next((stats for stats in workers if stats.built), None)
    template = f"{built.built} in {built.template_time:.2f} s" if built else "reused"
    average = f", {1000 * reset_time / times:.2f} ms each" if times else ""
    databases = sum(stats.clone_time > 0 for stats in workers)
    spares = sum(stats.from_spare for stats in workers)
    spares_text = f" ({pluralize(spares, 'spare')})" if spares else ""
    yield (
        f"pgtemplate: {name and f'{name}: '}template {workers[0].template} {template};"
        f" {pluralize(databases, 'database')}{spares_text}, {pluralize(times, 'reset')}{average}"
    )
    if built and built.why and every_worker:
        yield f"  reason for the build: {built.why}"
    yield from _missing_privileges(workers[0], settings.template.tracking)
    yield from _uncovered(workers[0].uncovered, every=every_worker)
    if workers[0].stand_ins:
        extensions = " and ".join(workers[0].stand_ins)
        yield (
            f"  stand-ins for {extensions}, which the server lacks; pg_bindir or pg_url"
            " names a server with the real extensions"
        )
    if every_worker:
        yield from _servers(workers)
    else:
        yield from (f"  {server}" for server in _untested_servers(workers))
    for stats in sorted(workers, key=lambda stats: (len(stats.worker), stats.worker)):
        if every_worker:
            source = "spare" if stats.from_spare else "clone"
            resets = pluralize(stats.resets, "reset")
            yield (
                f"  {stats.worker}: template {stats.template_time:.3f} s, {source}"
                f" {stats.clone_time:.3f} s, {resets} {stats.reset_time:.3f} s"
            )
        yield from (f"  kept {line}" for line in stats.kept)
        yield from _differences(stats, every=every_worker)
    yield from _layers(workers, every=every_worker)
    recloned = [line for stats in workers for line in stats.recloned]
    limit = len(recloned) if every_worker else MAX_LINES
    yield from (f"  re-cloned after {line}" for line in recloned[:limit])
    if recloned[limit:]:
        yield f"  re-cloned after {len(recloned) - limit} more tests (--pg-stats lists all)"


def report_facts(stats: list[dict[str, Any]]) -> dict[str, str]:
    """Return the facts about server and template for the report page."""
    if not stats:
        return {}
    built = next((each for each in stats if each["built"]), {"built": "reused", "why": ""})
    return {
        "server": stats[0]["server"],
        "template": built["built"],
        "template_name": stats[0]["template"],
        "why": built["why"],
    }


def _layers(workers: list[DatabaseStats], *, every: bool) -> Iterator[str]:
    """Yield the cost of each shared fixture, and a hint if workers repeated its setup."""
    from pytest_pgtemplate._display.tables import pluralize

    built: dict[str, list[tuple[str, int, float]]] = {}
    for stats in workers:
        for owner, node, changes, seconds in stats.layers:
            built.setdefault(owner, []).append((node, changes, seconds))
    for owner, layers in sorted(built.items()):
        seconds = sum(duration for *_, duration in layers)
        places = len({node for node, *_ in layers})
        line = f"  {owner}: set up {len(layers)} times, {seconds:.2f} s"
        rows = f", {sum(changes for _, changes, _ in layers)} rows" if every else ""
        if seconds * (1 - places / len(layers)) >= WORTH_A_HINT:
            yield (
                f"{line}{rows}, for {pluralize(places, 'scope')}: --dist loadscope keeps the"
                " tests of a module on one worker, and pg_seed builds the rows of all tests once"
            )
        elif every:
            yield f"{line}{rows}"


def _differences(stats: DatabaseStats, *, every: bool) -> Iterator[str]:
    """Yield a warning if a database differs from its template and no test reported this."""
    if stats.differences:
        yield (
            f"  {stats.worker}: dropped its database, which differs from the template"
            " (--pg-verify finds the test)"
        )
        shown = stats.differences if every else stats.differences[:MAX_LINES]
        yield from (f"    {line}" for line in shown)


def _untested_servers(workers: list[DatabaseStats]) -> Iterable[str]:
    return dict.fromkeys(stats.server for stats in workers if not stats.is_tested)


def _servers(workers: list[DatabaseStats]) -> Iterator[str]:
    """Yield each server and, if counted, the peak connections of a worker and of all workers."""
    for server in dict.fromkeys(stats.server for stats in workers):
        users = [stats for stats in workers if stats.server == server]
        peaks = [stats.connections for stats in users if stats.connections]
        peak = f"{max(peaks, default=0)} per worker, at most {sum(peaks)} in total"
        peaks_text = f"; peak connections: {peak}, {users[0].allowed} allowed"
        yield f"  {server}{peaks_text if peaks else ''}"


def _missing_privileges(worker: DatabaseStats, configured: str) -> Iterator[str]:
    if worker.tracking == "scan" and configured == "auto":
        yield "  the role may not create triggers: each reset scans every table"
    elif worker.tracking == "triggers" and not worker.event_triggers:
        yield "  the role may not create event triggers: each reset compares the catalogs"


def _uncovered(names: list[str], *, every: bool) -> Iterator[str]:
    """Yield a warning about tables and sequences that the role may not read."""
    if names:
        shown = names if every else names[:MAX_LINES]
        rest = len(names) - len(shown)
        more = f" and {rest} more (--pg-stats lists all)" if rest else ""
        yield f"  no reset restores {', '.join(shown)}{more}: the role may not read them"
