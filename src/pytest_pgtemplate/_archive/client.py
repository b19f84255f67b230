"""Run PostgreSQL's client programs on a database of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_pgtemplate import _child, _embedded, _urls
from pytest_pgtemplate._server import Server, connect, explain, portal
from pytest_pgtemplate._urls import redaction
from pytest_pgtemplate.errors import TemplateError

APPLICATION = "pytest-pgtemplate archive"


@dataclass(frozen=True)
class Client:
    """A server, and the directory in which its client programs are searched first."""

    server: Server
    bindir: Path | None

    def run(self, program: str, *arguments: str, database: str, options: str = "") -> None:
        """Run a client program of the server's version. Raises TemplateError with its output."""
        url = self.server.url.set(database=database)
        connection = ["--no-password", "--dbname", str(_urls.dsn_without_passwords(url))]
        env = {"PGAPPNAME": APPLICATION, **({"PGOPTIONS": options} if options else {})}
        with _child.password_environment(url) as passwords:
            password = str(url.password or "")
            self._run(program, [*arguments, *connection], {**env, **passwords}, password)

    def write_script(self, dump: Path, script: Path) -> None:
        """Turn a dump into SQL for psql. Raises TemplateError."""
        self._run("pg_restore", ["--file", str(script), str(dump)], {}, "")

    def _run(self, program: str, arguments: list[str], env: dict[str, str], password: str) -> None:
        server = self.server
        path = _embedded.find_program(program, server.facts.major, self.bindir)
        result = _child.run(
            [str(path), *arguments], env=env, cwd=Path.cwd(), timeout=server.timeout
        )
        if result.code is None:
            raise TemplateError(
                f"{program} took longer than {server.timeout:g} s and was stopped",
                hint="raise the limit: pg_timeout for saving, pgtemplate --timeout for loading",
            )
        if result.code != 0:
            raise TemplateError(
                f"{program} failed:\n{redaction.redact(result.output, password).rstrip()}",
                hint="the server must have all roles and extensions that the schema uses; with"
                " PgBouncer, pgtemplate load needs ignore_startup_parameters = options",
            )

    def fetch(self, query: str, *, database: str) -> Any:
        """Return the single value of ``query``. Raises ServerError."""
        url, timeout = self.server.url.set(database=database), self.server.timeout

        async def fetch() -> Any:
            connection = await connect(url, timeout=timeout, application=APPLICATION)
            try:
                await connection.execute("SET default_transaction_read_only = off")
                return await connection.fetchval(query)
            finally:
                await connection.close()

        try:
            return portal.run(fetch(), timeout=timeout)
        except Exception as error:
            raise explain(error, url) from error
