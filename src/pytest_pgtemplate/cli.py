"""The ``pgtemplate`` command: look at what is on a server, and clear it up by hand."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._server import PER_WORKER, Database, Server
from pytest_pgtemplate._settings import ENV_URL
from pytest_pgtemplate._worker import spares, sweep
from pytest_pgtemplate.errors import ConfigurationError, PgTemplateError, ServerError

TIMEOUT = 60.0  # seconds


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        for line in arguments.command(arguments):
            print(line)  # noqa: T201
    except PgTemplateError as error:
        print(f"pgtemplate: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("pgtemplate", description=__doc__)
    parser.add_argument("--url", default=os.environ.get(ENV_URL), help="default: the embedded one")
    parser.add_argument("--bindir", type=Path, help="PostgreSQL binaries of the embedded server")
    parser.add_argument("--pg-version", type=int, help="its major version")
    parser.add_argument("--listen", action="store_true", help="the one that listens on 127.0.0.1")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("list", help="databases that pytest-pgtemplate made")
    command.set_defaults(command=_list)

    command = commands.add_parser("prune", help="drop databases that no run owns any more")
    command.add_argument("--kept", action="store_true", help="those that --pg-keep left, too")
    command.add_argument("--templates", action="store_true", help="templates, too")
    command.set_defaults(command=_prune)

    command = commands.add_parser("doctor", help="what the server and this role can do")
    command.set_defaults(command=_doctor)

    command = commands.add_parser("psql", help="open a database, on the embedded server too")
    command.add_argument("database")
    command.set_defaults(command=_psql)

    command = commands.add_parser("server", help="the embedded server")
    command.add_argument("action", choices=("status", "stop"))
    command.set_defaults(command=_server)
    return parser


def _list(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        for each in server.databases():
            yield _describe(each)


def _describe(database: Database) -> str:
    mark = database.mark
    if mark is None:
        return f"{database.name}: unfinished"
    state = "in use" if database.leased else f"last used {_ago(mark.used)}"
    where = f"{mark.host} (pid {mark.pid})"
    origin = f", built from {mark.origin}" if mark.origin else ""
    return f"{database.name}: {mark.kind} of run {mark.run} on {where}, {state}{origin}"


def _ago(moment: int) -> str:
    minutes = max(0, int(time.time()) - moment) // 60
    return f"{minutes} min ago" if minutes < 120 else f"{minutes // 60} h ago"


def _prune(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        for name in sweep.prune(server, kept=arguments.kept, templates=arguments.templates):
            yield f"dropped {name}"


def _doctor(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        facts = server.facts
        yield f"server: {server}, database {facts.maintenance} for locks"
        if arguments.listen and not arguments.url:
            yield from _password(_embedded.status(*_which(arguments)))
        yield f"role: {facts.role}, superuser: {'yes' if facts.superuser else 'no'}"
        if not facts.superuser:
            yield (
                "  changes of the schema are noticed by comparing catalogs, which costs some ms a"
                " test; a superuser may use event triggers"
            )
        yield (
            f"connections: {facts.max_connections}, enough for {facts.workers} workers"
            f" of {PER_WORKER} connections each"
        )
        count = sum(map(spares.is_spare, server.databases()))
        yield f"spares: {count} of at most {spares.IN_ALL}, {spares.PER_TEMPLATE} a template"
        if facts.fsync:
            yield "fsync is on: clones are several times faster with fsync = off (tests only)"


def _psql(arguments: argparse.Namespace) -> Iterator[str]:
    with _connected(arguments) as server:
        found = None if arguments.url else _embedded.find_binaries(*_which(arguments)[:2])
        beside = found.bindir if found else None
        psql = shutil.which("psql", path=beside) or shutil.which("psql")
        if psql is None:
            raise ServerError("there is no psql on PATH", hint="install PostgreSQL's client")
        url = _urls.for_driver(server.url.set(database=arguments.database, password=None), None)
        password = {"PGPASSWORD": str(server.url.password)} if server.url.password else {}
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is psql's, to cancel a query
        subprocess.run([psql, str(url)], env={**os.environ, **password}, check=False)  # noqa: S603
    yield from ()


def _server(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.action == "stop":
        yield "stopped" if _embedded.stop(*_which(arguments)) else "it was not running"
        return
    status = _embedded.status(*_which(arguments))
    if status is None:
        yield "there has never been one"
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


def _which(arguments: argparse.Namespace) -> tuple[Path | None, int | None, bool]:
    return arguments.bindir, arguments.pg_version, arguments.listen


@contextmanager
def _connected(arguments: argparse.Namespace) -> Iterator[Server]:
    if len((arguments.url or "").split()) > 1:
        raise ConfigurationError("there is more than one URL", hint="name one of them in --url")
    hold = None if arguments.url else _embedded.acquire(*_which(arguments), timeout=TIMEOUT)
    url = _urls.parse(hold.url if hold else arguments.url)
    server = Server(url, timeout=TIMEOUT)
    try:
        yield server
    finally:
        server.close()
        if hold:
            hold.close()


if __name__ == "__main__":
    sys.exit(main())
