"""A tar file with a manifest and a compressed dump of each template.

The dump does not contain what a reset needs: it refers to transaction ids, which have no meaning on
another server. ``save`` removes it before the dump, and ``load`` installs it again.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pytest_pgtemplate._archive.client import Client
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._reset import drop_damaged_template, install, uninstall
from pytest_pgtemplate._server import Mark, Server, parse_mark
from pytest_pgtemplate._template import ScratchDatabase, Template, TemplateRequest, ensure_template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError, TemplateError

FORMAT = 1
MANIFEST = "manifest.json"
JOBS = min(4, os.cpu_count() or 1)  # of pg_restore
# These override ALTER DATABASE .. SET of the template.
WRITABLE = "-c default_transaction_read_only=off -c synchronous_commit=off"


_EMPTY_SEARCH_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);"


class Source(NamedTuple):
    """A template to save. ``place``: what ``load`` passes to ``client_for`` to find its server."""

    client: Client
    name: str
    place: str = ""


def save(
    sources: Sequence[Source], tracking: str, run: str, file: Path, progress: Path | None = None
) -> None:
    """Write the templates to ``file``, which is replaced only when the new content is complete."""
    scratch = file.with_name(f"{file.name}.{run}")
    names = [source.name for source in sources]
    try:
        with TemporaryDirectory() as name, tarfile.open(scratch, "w") as archive:
            directory = Path(name)
            reported = progress_file.report_progress(progress, "saving", sources, names)
            entries = [_dump(source, tracking, run, directory) for source in reported]
            manifest = {"format": FORMAT, "tracking": tracking, "templates": entries}
            (directory / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            for member in (MANIFEST, *names):
                archive.add(directory / member, member)
        scratch.replace(file)
    except OSError as error:
        raise _not_writable(file, error.strerror) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


def check_file(file: Path) -> None:
    """Raise ConfigurationError if ``save`` cannot write to ``file``: before a long build."""
    try:
        is_directory, parent_exists = file.is_dir(), file.absolute().parent.is_dir()
    except OSError as error:  # the name is too long
        raise _not_writable(file, error.strerror) from error
    if is_directory or not parent_exists:
        reason = "it is a directory" if is_directory else "its directory does not exist"
        raise _not_writable(file, reason)


def _not_writable(file: Path, reason: str | None) -> ConfigurationError:
    return ConfigurationError(f"{file} cannot be written: {reason}", hint="choose another file")


def load(
    client_for: Callable[[str], Client],
    file: Path,
    run: str,
    lock_directory: Path,
    progress: Path | None = None,
) -> Iterator[Template]:
    """Yield the templates in ``file``; create those that do not exist yet on their server.

    Several processes may load at the same time. Raises ConfigurationError if ``save`` did not write
    the file, or if it is for another kind of server.
    """
    with _extracted(file) as directory:
        try:
            manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
            _check_format(manifest["format"], file)
            tracking = str(manifest["tracking"])
            entries = [
                _read(entry, client_for(str(entry["place"])), run, file)
                for entry in manifest["templates"]
            ]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _not_an_archive(file) from error
        names = [request.name for _, request, _ in entries]
        reported = progress_file.report_progress(progress, "loading", entries, names)
        for client, request, way in reported:
            restore = partial(_restore, client, directory, tracking, way)
            yield ensure_template(request, restore, client.server, lock_directory)


def _compatibility(server: Server) -> dict[str, object]:
    """Return what must be equal on the server of origin and on the server of destination."""
    facts = server.facts
    return {
        "PostgreSQL": facts.major,
        "locale": facts.locale,
        "role": facts.role,
        "superuser": facts.superuser,
        "defaults": facts.defaults,
    }


def _dump(source: Source, tracking: str, run: str, directory: Path) -> dict[str, Any]:
    """Dump a clone, because a template allows no connections. Returns its manifest entry."""
    client, name, place = source
    server = client.server
    found = server.find(name)
    if found is None or found.mark is None:
        raise TemplateError(f'template "{name}" is no longer on the server', hint="run again")
    prefix = name.rpartition("_tpl_")[0]
    scratch = database_names.scratch(prefix, run)
    server.lease(scratch)
    try:
        server.clone(name, scratch, Mark("scratch", run, found.mark.fingerprint))
        url = server.url.set(database=scratch)
        if not uninstall(url, tracking, found.mark.state, timeout=server.timeout):
            drop_damaged_template(server, name)
        target = str(directory / name)
        client.run("pg_dump", "--format=custom", "--file", target, database=scratch)
        # The dump does not show whether the schema public was dropped.
        public = client.fetch("SELECT to_regnamespace('public') IS NOT NULL", database=scratch)
        server.drop(scratch)
        script = _find_way(client, found.mark, directory / name, public, scratch)
    finally:
        server.drop(scratch)
        server.release(scratch)
    return {
        "place": place,
        "server": _compatibility(server),
        "prefix": prefix,
        "mark": found.mark.dumps(),
        "public": public,
        "script": script,
    }


def _find_way(client: Client, mark: Mark, dump: Path, public: bool, scratch: str) -> bool:
    """Try to load a dump: whether only as a script. Raises TemplateError if it cannot be loaded."""
    server = client.server
    # Written to without WRITABLE, which a pooler may refuse.
    writable = [entry for entry in mark.settings if entry[0] != "default_transaction_read_only"]
    empty = replace(mark, kind="scratch", settings=tuple(writable))
    for script in (False, True):
        server.create(scratch, empty, template="template0")
        try:
            _fill(client, dump, (public, script), scratch)
            return script
        except TemplateError as error:
            if script:
                raise TemplateError(
                    "the template cannot be saved, because its dump cannot be loaded:"
                    f" {error.message}",
                    hint="qualify the names that the object uses: shop.price(..), not price(..);"
                    " or set the search path of the database: ALTER DATABASE .. SET search_path",
                ) from error
        finally:
            server.drop(scratch)
    raise AssertionError


def _fill(
    client: Client, dump: Path, way: tuple[bool, bool], database: str, options: str = ""
) -> None:
    """Load a dump. As a ``script``: with the search path of the database, as its migrations ran.

    pg_restore empties the search path. Then a function fails that calls another one by its bare
    name, and so does what computes with it: a generated column, a constraint, an index, a domain.
    """
    public, script = way
    if not public:
        client.fetch("DROP SCHEMA public", database=database)
    if not script:
        restore = ("pg_restore", "--exit-on-error", f"--jobs={JOBS}", str(dump))
        client.run(*restore, database=database, options=options)
        return
    file = dump.with_suffix(".sql")
    client.write_script(dump, file)
    file.write_bytes(file.read_bytes().replace(_EMPTY_SEARCH_PATH, b"", 1))
    quiet = ("--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1")
    files = ("--output=/dev/null", "--file", str(file))
    client.run("psql", *quiet, *files, database=database, options=options)
    file.unlink()


def _restore(
    client: Client,
    directory: Path,
    tracking: str,
    way: tuple[bool, bool],
    scratch: ScratchDatabase,
) -> str:
    _fill(client, directory / scratch.request.name, way, scratch.name, WRITABLE)
    server = client.server
    return install(server.url.set(database=scratch.name), tracking, timeout=server.timeout)


@contextmanager
def _extracted(file: Path) -> Iterator[Path]:
    with _temporary_directory() as name:
        try:
            with file.open("rb") as opened, tarfile.open(fileobj=opened) as archive:
                for member in archive.getmembers():
                    content = archive.extractfile(member)
                    # The base name only: a member cannot escape from the directory.
                    with (Path(name) / Path(member.name).name).open("wb") as target:
                        shutil.copyfileobj(content, target)  # type: ignore[arg-type]
        except (FileNotFoundError, tarfile.TarError, AttributeError) as error:
            raise _not_an_archive(file) from error
        except OSError as error:
            raise ConfigurationError(
                f"{file} cannot be read, or its content not written to {name}: {error.strerror}",
                hint="correct its permissions, or free space there (TMPDIR)",
            ) from error
        yield Path(name)


def _temporary_directory() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory()
    except OSError as error:
        raise ConfigurationError(
            f"there is no directory for temporary files: {error.strerror}", hint="set TMPDIR"
        ) from error


def _read(
    entry: dict[str, Any], client: Client, run: str, file: Path
) -> tuple[Client, TemplateRequest, tuple[bool, bool]]:
    """Return the client, the request for the template, and how ``_fill`` loads it."""
    _check_compatibility(entry["server"], client.server, file)
    mark = parse_mark(entry["mark"])
    if mark is None:
        raise ValueError("the entry has no valid mark")
    request = TemplateRequest(entry["prefix"], run, mark.fingerprint, rebuild=False, saved=mark)
    return client, request, (bool(entry["public"]), bool(entry.get("script")))


def _check_format(written: int, file: Path) -> None:
    if written > FORMAT:
        raise ConfigurationError(
            f"{file} was written by a newer pytest-pgtemplate",
            hint="install the same version here, or save the templates again",
        )


def _check_compatibility(origin: dict[str, Any], server: Server, file: Path) -> None:
    for name, value in _compatibility(server).items():
        if (saved := origin.get(name)) != value:
            raise ConfigurationError(
                f"{file} is for another server: it has {name} {saved}, this server {value}",
                hint="save the templates again, from a server like this one",
            )


def _not_an_archive(file: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{file} does not exist, or `pgtemplate save` did not write it",
        hint="write it with: pgtemplate save FILE",
    )
