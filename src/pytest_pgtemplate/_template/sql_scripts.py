"""Run SQL scripts of the user, each as one transaction, and report the line of an error.

The plugin's own connection runs a script. If the script contains meta-commands of psql, or rows
after COPY as pg_dump writes them, or if it is not UTF-8, psql runs it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg

from pytest_pgtemplate import _child, _embedded, _urls
from pytest_pgtemplate._child import hints
from pytest_pgtemplate._server import connect, explain, portal, quote_literal
from pytest_pgtemplate._template.target import (
    APPLICATION,
    Target,
    redact_password,
    timeout_error,
)
from pytest_pgtemplate.errors import EmbeddedServerError, MigrationError

_META_COMMAND = re.compile(r"^[ \t]*\\", re.MULTILINE)
# Anywhere in a line, because psql accepts them after a statement, but not in a comment, in quotes
# or in the rows of a COPY.
_CONNECT = re.compile(
    r"""(?isx) --[^\n]* | /\* .*? \*/
      | \b E '(?: [^'\\] | '' | \\. )*' | '(?: [^'] | '' )*' | "[^"]*" | (\$\w*\$) .*? \1
      | ^ [ \t]* COPY \b [^;]* \b FROM \s+ stdin\b [^;]* ; .*? ^\\\.
      | (?-i: (?P<connect> \\c(?:onnect)?\b ))""",
    re.MULTILINE,
)
_ARGUMENT = r"[ \t]+(?:'([^'\n]+)'|([^'\s]+))"
_INCLUDE = re.compile(rf"(?<!\\)\\i(r|nclude|nclude_relative)?{_ARGUMENT}")
_DATA = re.compile(rf"(?<!\\)\\(?:copy\b[^\n]*?\bfrom|lo_import){_ARGUMENT}", re.IGNORECASE)
_END_OF_STATEMENT = re.compile(r";[ \t\r]*(--.*)?$", re.MULTILINE)
_EMPTY = re.compile(r"(?:[\s;]|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*+", re.DOTALL)
_ENCODING = re.compile(r"\\encoding\b|\bSET\s+(SESSION\s+)?client_encoding\b", re.IGNORECASE)
_LEFT = "EXCEPTION 'the script has connected to another database, and may have changed it'"
_DETAILS = re.compile(r"^LOCATION: .*\n?", re.MULTILINE)  # in the source code of the server
_SQLSTATE = re.compile(r":  ([0-9A-Z]{5}): ")


def run_text(script: str, what: str, target: Target) -> None:
    """Run a script. Raises MigrationError, which shows the line that failed."""
    error = _run(script, what, target)
    if error is not None:
        raise _failed(f"{what} failed", script, error)


def run_file(file: Path, target: Target) -> None:
    """Run a file. Raises MigrationError, which names the file and the line that failed."""
    content = file.read_bytes()
    script = decode(content)
    for_psql = _other_encoding(file, content, script) or _META_COMMAND.search(script)
    if for_psql is None:
        error = _run(script, str(file), target)
        position = _position(error) if error else None
        if error is None:
            return
        if position is None or script[position : position + 1] != "\\":
            raise _failed(f"{file} failed", script, error, file)
        for_psql = re.compile(re.escape("\\")).search(script, position)
    assert for_psql is not None
    for part in (file, *included_files(file, script)):
        _refuse_connect(part)
    psql = _find_psql(target)
    if psql is None:
        raise MigrationError(
            f"{file}:{_line(script, for_psql.end())}: this needs psql, which is not installed:"
            f"\n    {_source_line(script, for_psql.end())}",
            hint="install PostgreSQL's client programs, or set pg_bindir to their directory; or use"
            " pg_dump --inserts, and remove the lines with \\restrict",
        )
    _run_psql(psql, file, target)


def decode(content: bytes) -> str:
    """Decode a script. If it is not UTF-8, keep its ASCII characters: psql will decode it."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _other_encoding(file: Path, content: bytes, script: str) -> re.Match[str] | None:
    """Return the declaration of an encoding, if the script is not UTF-8 and so needs it."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if declaration := _ENCODING.search(script):
            return declaration
        raise MigrationError(
            f"{file}:{_line(script, error.start)}: byte 0x{content[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8; or add SET client_encoding = '..', as pg_dump does, and"
            " psql runs it",
        ) from None
    return None


def _refuse_connect(file: Path) -> None:
    script = decode(file.read_bytes())
    for found in _CONNECT.finditer(script):
        if found["connect"]:
            raise MigrationError(
                f"{file}:{_line(script, found.end())}: \\connect leaves the template's database",
                hint="remove it; with pg_dump, omit --create",
            )


def files_to_read(file: Path, script: str) -> Iterator[Path]:
    """Yield the files that psql reads for a script: those that it includes, and their data."""
    yield from _data_files(script)
    for included in included_files(file, script):
        yield included
        yield from _data_files(decode(included.read_bytes()))


def _data_files(script: str) -> Iterator[Path]:
    for quoted, bare in _DATA.findall(script):
        if (path := Path(quoted or bare)).is_file():
            yield path


def included_files(file: Path, script: str, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files that a script includes with psql's ``\\i`` and ``\\ir``, recursively.

    Not again those ``above``: a comment may name the file itself.
    """
    above = (*above, file.absolute())
    for kind, quoted, bare in _INCLUDE.findall(script):
        folder = file.parent if kind in ("r", "nclude_relative") else Path()
        found = folder / (quoted or bare)
        if found.is_file() and found.absolute() not in above:
            yield found
            yield from included_files(found, decode(found.read_bytes()), above)


# With the plugin's own connection


def _run(script: str, what: str, target: Target) -> asyncpg.PostgresError | None:
    """Return the error of the server, with its position or the attribute ``line`` if known."""

    async def run() -> asyncpg.PostgresError | None:
        connection = await connect(target.url, timeout=target.timeout, application=APPLICATION)
        try:
            if not _EMPTY.fullmatch(script):  # for which asyncpg raises AttributeError
                await connection.execute(script)
            if connection.is_in_transaction():
                raise MigrationError(
                    f"{what} leaves its transaction open, which undoes it",
                    hint="end the transaction with COMMIT, or remove its BEGIN: each file is one"
                    " transaction",
                )
        except asyncpg.PostgresError as error:
            if _position(error) is None:
                error.line = await _find_line(connection, script, error)
            return error
        finally:
            await connection.close()
        return None

    try:
        return portal.run(run(), timeout=target.timeout)
    except TimeoutError:
        raise timeout_error(what, target.timeout) from None
    except Exception as error:
        raise explain(error, target.url) from error


async def _find_line(connection: Any, script: str, wanted: asyncpg.PostgresError) -> int | None:
    """Run the statements one by one, to find the one that raises the error, and roll back.

    A semicolon may be part of a statement. So on a syntax error, the next semicolon is tried.
    """
    await connection.execute("ROLLBACK; BEGIN")
    begin = 0
    for end in (*(found.end() for found in _END_OF_STATEMENT.finditer(script)), len(script)):
        statement = script[begin:end]
        try:
            await connection.execute("SAVEPOINT pgtemplate")
            await connection.execute(statement)
        except asyncpg.PostgresSyntaxError:
            await connection.execute("ROLLBACK TO pgtemplate")
        except asyncpg.PostgresError as error:
            same = error.sqlstate == wanted.sqlstate
            return _line(script, begin + _leading(statement)) if same else None
        else:
            begin = end
    return None


def _leading(statement: str) -> int:
    """Return the number of characters of comments and white space before the statement."""
    found = re.match(r"(\s+|--[^\n]*\n|/\*.*?\*/)*", statement, re.DOTALL)
    return found.end() if found else 0


def _position(error: asyncpg.PostgresError) -> int | None:
    """Return the position of the error in the script, from 0, if the server reports it."""
    return int(error.position) - 1 if getattr(error, "position", None) else None


def _failed(
    what: str, script: str, error: asyncpg.PostgresError, file: Path | None = None
) -> MigrationError:
    position = _position(error)
    line = _line(script, position) if position is not None else getattr(error, "line", None)
    text = f"{error} ({error.sqlstate})"
    where = f"{file}:{line}: " if file and line else ""
    shown = f"\n    line {line}: {_nth_line(script, line)}" if line else ""
    hint = hints.shared_object_hint(error.sqlstate, _nth_line(script, line) if line else script)
    return MigrationError(
        f"{what}: {where}{text}{shown}", hint=hint or "correct the SQL and run again"
    )


def _line(script: str, position: int) -> int:
    return script.count("\n", 0, position) + 1


def _nth_line(script: str, line: int) -> str:
    lines = script.splitlines()
    return lines[min(line, len(lines)) - 1].strip()[:200] if lines else ""


def _source_line(script: str, position: int) -> str:
    return _nth_line(script, _line(script, position))


# With psql


def _find_psql(target: Target) -> str | None:
    """Return a psql of the server's version if there is one, else any psql."""

    async def major() -> int:
        connection = await connect(target.url, timeout=target.timeout, application=APPLICATION)
        try:
            return int(connection.get_server_version().major)
        finally:
            await connection.close()

    try:
        version = portal.run(major(), timeout=target.timeout)
        return str(_embedded.find_program("psql", version, target.bindir))
    except EmbeddedServerError:
        return shutil.which("psql", path=target.bindir) or shutil.which("psql")


def _run_psql(psql: str, file: Path, target: Target) -> None:
    options = ["--no-psqlrc", "--quiet", "--echo-errors", "--single-transaction", "--no-password"]
    options += ["--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--output=/dev/null"]
    dsn = str(_urls.dsn_without_passwords(target.url))
    # \connect may be in a file whose name a variable of psql contains.
    is_here = f"current_database() = {quote_literal(target.url.database or '')}"
    check = f"DO $$BEGIN IF NOT {is_here} THEN RAISE {_LEFT}; END IF; END$$"
    scripts = ["--file", str(file.absolute()), "--command", check]
    command = [psql, *options, *scripts, "--dbname", dsn]
    with _child.password_environment(target.url) as passwords:
        env = {"PGAPPNAME": APPLICATION, **passwords}
        ended = _child.run(command, env=env, cwd=Path.cwd(), timeout=target.timeout)
    output = _DETAILS.sub("", redact_password(ended.output, target.url)).strip()
    if ended.code is None:
        raise timeout_error(str(file), target.timeout, output)
    if ended.code != 0:
        sqlstate = _SQLSTATE.search(output)
        hint = hints.shared_object_hint(sqlstate and sqlstate[1], output)
        raise MigrationError(
            f"{file} failed:\n{output}", hint=hint or "correct the SQL and run again"
        )
