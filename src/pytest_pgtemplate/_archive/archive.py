"""A tar file: a manifest, and a compressed dump of each template as migrations and seed left it.

What a reset needs is not in it. It tells the age of rows by the transactions that wrote them, which
mean nothing on another server: so it is taken out before the dump, and made anew after loading.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pytest_pgtemplate._archive.client import Client
from pytest_pgtemplate._display import progress_file
from pytest_pgtemplate._reset import install, uninstall
from pytest_pgtemplate._server import Mark, Server, parse_mark
from pytest_pgtemplate._template import ScratchDatabase, Template, TemplateRequest, ensure_template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError, TemplateError

FORMAT = 1
MANIFEST = "manifest.json"
JOBS = min(4, os.cpu_count() or 1)  # of pg_restore
# Whatever ALTER DATABASE .. SET has given the template.
WRITABLE = "-c default_transaction_read_only=off -c synchronous_commit=off"


class Source(NamedTuple):
    """A template by its name. ``place`` is how ``load`` asks for the server that it goes to."""

    client: Client
    name: str
    place: str = ""


def save(
    sources: Sequence[Source], tracking: str, run: str, file: Path, progress: Path | None = None
) -> None:
    """Write these templates to ``file``, whole or not at all."""
    scratch = file.with_name(f"{file.name}.{run}")
    try:
        with TemporaryDirectory() as name, tarfile.open(scratch, "w") as archive:
            directory = Path(name)
            told = progress_file.report_progress(
                progress, "saving", sources, [each.name for each in sources]
            )
            entries = [_dump(each, tracking, run, directory) for each in told]
            manifest = {"format": FORMAT, "tracking": tracking, "templates": entries}
            (directory / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            for member in (MANIFEST, *(each.name for each in sources)):
                archive.add(directory / member, member)
        scratch.replace(file)
    except OSError as error:
        raise ConfigurationError(
            f"{file} cannot be written: {error.strerror}", hint="name another file"
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def load(
    client_for: Callable[[str], Client],
    file: Path,
    run: str,
    lock_directory: Path,
    progress: Path | None = None,
) -> Iterator[Template]:
    """Make the templates in ``file`` that are not there yet; any number of processes may at once.

    Raises ConfigurationError when one does not fit its server, or it was not written by ``save``.
    """
    with _extracted(file) as directory:
        try:
            manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
            _check_format(manifest["format"], file)
            tracking = str(manifest["tracking"])
            entries = [
                _read(each, client_for(str(each["place"])), run, file)
                for each in manifest["templates"]
            ]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise _not_ours(file) from error
        names = [request.name for _, request, _ in entries]
        for client, request, public in progress_file.report_progress(
            progress, "loading", entries, names
        ):
            restore = partial(_restore, client, directory, tracking, public)
            yield ensure_template(request, restore, client.server, lock_directory)


def _kind(server: Server) -> dict[str, object]:
    """What has to be the same where the templates come from and where they go."""
    facts = server.facts
    return {"PostgreSQL": facts.major, "locale": facts.locale, "role": facts.role}


def _dump(source: Source, tracking: str, run: str, directory: Path) -> dict[str, Any]:
    """Dump a clone: nobody can connect to the template itself."""
    client, name, place = source
    server = client.server
    found = server.find(name)
    if found is None or found.mark is None:
        raise TemplateError(f'template "{name}" is gone from the server', hint="run again")
    prefix = name.rpartition("_tpl_")[0]
    scratch = database_names.scratch(prefix, run)
    server.lease(scratch)
    try:
        server.clone(name, scratch, Mark("scratch", run, found.mark.fingerprint))
        url = server.url.set(database=scratch)
        uninstall(url, tracking, timeout=server.timeout)
        to = str(directory / name)
        client.run("pg_dump", "--format=custom", "--file", to, database=scratch)
        # pg_dump says nothing of a schema public that is gone.
        public = client.fetch("SELECT to_regnamespace('public') IS NOT NULL", database=scratch)
    finally:
        server.drop(scratch)
        server.release(scratch)
    return {
        "place": place,
        "server": _kind(server),
        "prefix": prefix,
        "mark": found.mark.dumps(),
        "public": public,
    }


def _restore(
    client: Client, directory: Path, tracking: str, public: bool, scratch: ScratchDatabase
) -> str:
    if not public:
        client.fetch("DROP SCHEMA public", database=scratch.name)
    dump = str(directory / scratch.request.name)
    options = ("--exit-on-error", f"--jobs={JOBS}")
    client.run("pg_restore", *options, dump, database=scratch.name, options=WRITABLE)
    server = client.server
    return install(server.url.set(database=scratch.name), tracking, timeout=server.timeout)


@contextmanager
def _extracted(file: Path) -> Iterator[Path]:
    with TemporaryDirectory() as name:
        try:
            with tarfile.open(file) as archive:
                for member in archive.getmembers():
                    content = archive.extractfile(member)
                    with (Path(name) / Path(member.name).name).open("wb") as to:
                        shutil.copyfileobj(content, to)  # type: ignore[arg-type]
        except (OSError, tarfile.TarError, AttributeError) as error:
            raise _not_ours(file) from error
        yield Path(name)


def _read(
    entry: dict[str, Any], client: Client, run: str, file: Path
) -> tuple[Client, TemplateRequest, bool]:
    """Where a template goes, and what is to be made there; whether with a schema public."""
    _check_kind(entry["server"], client.server, file)
    mark = parse_mark(entry["mark"])
    if mark is None:
        raise ValueError("no mark of ours")
    request = TemplateRequest(entry["prefix"], run, mark.fingerprint, rebuild=False, saved=mark)
    return client, request, bool(entry["public"])


def _check_format(written: int, file: Path) -> None:
    if written > FORMAT:
        raise ConfigurationError(
            f"{file} was written by a newer pytest-pgtemplate",
            hint="install that one here, too, or save the templates again",
        )


def _check_kind(kind: dict[str, Any], server: Server, file: Path) -> None:
    for what, here in _kind(server).items():
        if kind[what] != here:
            raise ConfigurationError(
                f"{file} is for another server: {what} {kind[what]}, and here it is {here}",
                hint="save the templates again, from a server like this one",
            )


def _not_ours(file: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{file} is not there, or not a file that pgtemplate save wrote",
        hint="write it with: pgtemplate save FILE",
    )
