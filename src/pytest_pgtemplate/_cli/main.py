"""Build, save and load templates; list and drop the databases of pytest-pgtemplate."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from pathlib import Path

from pytest_pgtemplate import _archive, _embedded, _urls
from pytest_pgtemplate._cli import psql, server_connection
from pytest_pgtemplate._cli.build import BuiltTemplate, build
from pytest_pgtemplate._cli.doctor import examine
from pytest_pgtemplate._display.progress_line import progress_line_on
from pytest_pgtemplate._display.tables import table
from pytest_pgtemplate._run.progress import ProgressReporter
from pytest_pgtemplate._server import Server, ServerDatabase
from pytest_pgtemplate._settings import cache
from pytest_pgtemplate._settings.database_options import ENV_URL, urls_in_environment
from pytest_pgtemplate._worker import sweep
from pytest_pgtemplate.errors import PgTemplateError

TIMEOUT = 300.0  # seconds; the default of --timeout


def main(argv: list[str] | None = None) -> int:
    """Run one command, and return its exit code: 0, or 1 after an error message.

    Exits with 2 for an invalid command line, and for ``check`` with the exit code of pytest.
    """
    arguments = _parse(argv)
    directory = cache() / "runs" / f"command_{os.getpid()}"
    arguments.progress = ProgressReporter(
        lambda: directory, "main", partial(progress_line_on, sys.stderr)
    )
    try:
        for line in arguments.command(arguments):
            print(line)  # noqa: T201
    except PgTemplateError as error:
        print(f"pgtemplate: {error}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line. Unknown options go to pytest if the command runs it."""
    parser = _parser()
    arguments, options = parser.parse_known_args(argv)
    if options and "pytest" not in arguments:
        parser.error(f"unrecognized arguments: {' '.join(options)}")
    if options:
        arguments.pytest = [*options, *arguments.pytest]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pgtemplate", description=__doc__)
    url = urls_in_environment("")
    parser.add_argument("--url", default=url, help="server URL; default: the embedded server")
    parser.add_argument("--bindir", type=Path, help="PostgreSQL binaries of the embedded server")
    parser.add_argument("--pg-version", type=int, help="major version of the embedded server")
    listen = "use the embedded server that listens on 127.0.0.1"
    parser.add_argument("--listen", action="store_true", help=listen)
    parser.add_argument("--timeout", type=float, default=TIMEOUT, help="seconds (default: 300)")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("build", help="build this project's template")
    command.add_argument("pytest", nargs=argparse.REMAINDER, help="arguments for pytest")
    command.set_defaults(command=_build)

    command = commands.add_parser("save", help="build this project's template; write it to a file")
    command.add_argument("file", type=Path)
    command.add_argument("pytest", nargs=argparse.REMAINDER, help="arguments for pytest")
    command.set_defaults(command=_save)

    command = commands.add_parser("load", help="create the templates in a file on the server")
    command.add_argument("file", type=Path)
    command.set_defaults(command=_load)

    command = commands.add_parser("list", help="list the databases of pytest-pgtemplate")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(command=_list)

    command = commands.add_parser("prune", help="drop the databases that no run uses")
    command.add_argument("--kept", action="store_true", help="also drop those kept by --pg-keep")
    command.add_argument("--templates", action="store_true", help="also drop templates")
    command.set_defaults(command=_prune)

    command = commands.add_parser("doctor", help="examine a server, and suggest settings")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(command=_doctor)

    command = commands.add_parser("psql", help="start psql on a database of the server")
    command.add_argument("database")
    command.set_defaults(command=_psql)

    command = commands.add_parser("check", help="run only the tests of the migrations")
    command.add_argument("pytest", nargs=argparse.REMAINDER, help="arguments for pytest")
    command.set_defaults(command=_check)

    command = commands.add_parser("server", help="show or stop the embedded server")
    command.add_argument("action", choices=("status", "stop"))
    command.set_defaults(command=_server)
    return parser


def _build(arguments: argparse.Namespace) -> Iterator[str]:
    yield from _built_lines(_built(arguments))


def _save(arguments: argparse.Namespace) -> Iterator[str]:
    _archive.check_file(arguments.file)
    built = _built(arguments)
    yield from _built_lines(built)
    settings, progress = built[0].settings, arguments.progress
    with ExitStack() as stack:
        sources: list[_archive.Source] = []
        for template in built:
            url, server = template.settings.url, settings.server
            connection = server_connection.client(
                url, server.embedded, server.timeout, progress.step
            )
            client = stack.enter_context(connection)
            names = _with_unseeded(client.server, template.template.name)
            sources += (_archive.Source(client, name, template.database) for name in names)
        with progress.step("saving"):
            run, tracking = settings.identity.run, settings.template.tracking
            _archive.save(sources, tracking, run, arguments.file, progress.file)
    size = arguments.file.stat().st_size / 1e6
    saved = " and ".join(source.name for source in sources)
    yield f"saved {saved} to {arguments.file}, {size:.1f} MB"


def _with_unseeded(server: Server, name: str) -> Iterator[str]:
    """Yield the template without the seed, from which later builds start; then the template."""
    found = server.find(name)
    mark = found.mark if found else None
    if mark and not mark.lineage and server.find(mark.origin):
        yield mark.origin
    yield name


def _load(arguments: argparse.Namespace) -> Iterator[str]:
    lines, progress, run = [], arguments.progress, os.urandom(4).hex()
    with ExitStack() as stack:

        @lru_cache
        def client_for(database: str) -> _archive.Client:
            url = (urls_in_environment(database) if database else None) or arguments.url
            embedded = _embedded_options(arguments)
            return stack.enter_context(
                server_connection.client(url, embedded, arguments.timeout, progress.step)
            )

        stack.enter_context(progress.step("loading"))
        locks, began = cache() / "locks", time.perf_counter()
        for template in _archive.load(client_for, arguments.file, run, locks, progress.file):
            seconds = time.perf_counter() - began
            outcome = f"loaded in {seconds:.2f} s" if template.built else "exists already"
            lines.append(f"{template.name}: {outcome}")
            began = time.perf_counter()
    yield from lines


def _built(arguments: argparse.Namespace) -> list[BuiltTemplate]:
    url = [f"--pg-url={arguments.url}"] if arguments.url else []
    return build([*url, *_for_pytest(arguments)])


def _for_pytest(arguments: argparse.Namespace) -> list[str]:
    bindir = [f"--pg-bindir={arguments.bindir}"] if arguments.bindir else []
    version = ["-o", f"pg_version={arguments.pg_version}"] if arguments.pg_version else []
    listen = ["-o", "pg_listen=true"] if arguments.listen else []
    return [*bindir, *version, *listen, *arguments.pytest]


def _built_lines(built: list[BuiltTemplate]) -> Iterator[str]:
    for result in built:
        outcome = f"{result.how} in {result.seconds:.2f} s" if result.how else "exists already"
        yield f"{result.template.name}: {outcome}"
        yield f"fingerprint {result.template.fingerprint}"


def _list(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        databases = server.databases()
    if arguments.json:
        yield json.dumps([_json_row(database) for database in databases], indent=2)
    elif databases:
        headings = ("database", "kind", "run", "created by", "state")
        yield from table([headings, *map(_row, databases)])


def _row(database: ServerDatabase) -> tuple[str, ...]:
    mark = database.mark
    if mark is None:
        return database.name, "unfinished", "", "", ""
    state = "in use" if database.leased else f"last used {_ago(database.unused)}"
    origin = f", built from {mark.origin}" if mark.origin else ""
    return database.name, mark.kind, mark.run, f"{mark.host} (pid {mark.pid})", f"{state}{origin}"


def _json_row(database: ServerDatabase) -> dict[str, object]:
    fields: dict[str, object] = {"database": database.name, "in_use": database.leased}
    if (mark := database.mark) is not None:
        names = ("kind", "run", "fingerprint", "host", "pid", "created", "used", "origin")
        fields |= {name: getattr(mark, name) for name in names}
    return fields


def _ago(seconds: int) -> str:
    minutes = max(0, seconds) // 60
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"


def _prune(arguments: argparse.Namespace) -> Iterator[str]:
    progress, kept, templates = arguments.progress, arguments.kept, arguments.templates
    with _connected(arguments) as server, progress.step("looking for unused databases"):
        result = sweep.prune(server, kept=kept, templates=templates, progress=progress.file)
    yield from (f"dropped {name}" for name in result.dropped)
    yield from (f"did not drop {name}: {error}" for name, error in result.refused.items())


def _doctor(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        findings = list(examine(server))
    if arguments.json:
        yield json.dumps([finding._asdict() for finding in findings], indent=2)
        return
    if arguments.listen and not arguments.url:
        yield from _password(_embedded.status(*_embedded_options(arguments)))
    yield from table([(finding.verdict, finding.topic, finding.what) for finding in findings])
    yield from (f"{finding.topic}: {finding.advice}" for finding in findings if finding.advice)


def _psql(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        bindir = server_connection.client_bindir(arguments.url, _embedded_options(arguments))
        code = psql.run(server, arguments.database, bindir)
    sys.exit(code)
    yield


def _check(arguments: argparse.Namespace) -> Iterator[str]:
    command = [sys.executable, "-m", "pytest", "--pg-check-only", *_for_pytest(arguments)]
    env = {**os.environ, **({ENV_URL: arguments.url} if arguments.url else {})}
    sys.exit(subprocess.run(command, env=env, check=False).returncode)  # noqa: S603
    yield


def _server(arguments: argparse.Namespace) -> Iterator[str]:
    options = _embedded_options(arguments)
    if arguments.action == "stop":
        yield "stopped" if _embedded.stop(*options) else "the embedded server was not running"
        return
    status = _embedded.status(*options)
    if status is None:
        yield "never started"
        return
    yield f"{'running, pid ' + str(status.pid) if status.running else 'not running'}"
    yield f"in use: {'yes' if status.in_use else 'no'}"
    yield f"PostgreSQL {status.version} from {status.source}"
    yield f"url: {_urls.parse(status.url)!r}"
    yield from _password(status)
    yield f"data: {status.data}"
    yield f"log: {status.log}"


def _password(status: _embedded.Status | None) -> Iterator[str]:
    if status and status.password:
        yield f"password: in {status.password}"


def _embedded_options(arguments: argparse.Namespace) -> server_connection.EmbeddedOptions:
    return arguments.bindir, arguments.pg_version, arguments.listen


@contextmanager
def _connected(arguments: argparse.Namespace) -> Iterator[Server]:
    embedded, step = _embedded_options(arguments), arguments.progress.step
    with server_connection.server(arguments.url, embedded, arguments.timeout, step) as server:
        yield server


if __name__ == "__main__":
    sys.exit(main())
