"""Migrations with Alembic: the fingerprint, the revisions, and upgrades in a child process."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._template import env_py
from pytest_pgtemplate._template.alembic_config import AlembicConfig
from pytest_pgtemplate._template.digests import digest_parts
from pytest_pgtemplate._template.lineage import Lineage, Revision
from pytest_pgtemplate._template.revisions import Script, read_list, read_or_create_list
from pytest_pgtemplate._template.target import Target, raise_if_failed
from pytest_pgtemplate._urls import server_address, url_templates
from pytest_pgtemplate.errors import ConfigurationError, MigrationError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_ALL = ("head", "heads")  # targets for which every revision runs


@dataclass(frozen=True)
class Alembic:
    """Alembic's ``upgrade``, run by env.py in a child process.

    ``config`` is an alembic.ini, or a pyproject.toml with a ``[tool.alembic]`` table.
    ``attributes`` are added to Alembic's ``config.attributes``; strings may contain the fields of
    ``pg_env``. "sqlalchemy.url" is always set, and so is "connection" if env.py reads it.
    ``directories``: possible working directories of Alembic, for relative paths in ``config``. The
    plugin passes the working directory of the run and pytest's rootdir.
    """

    config: Path
    revision: str = "heads"
    attributes: Mapping[str, object] = field(default_factory=dict)
    directories: tuple[Path, ...] = ()

    def fingerprint(self) -> Iterator[bytes]:
        config = self._read()
        files = list(config.files())
        yield from self._configuration(config)
        for _, name, content in files:
            yield name
            yield content

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Yield each file that determines the schema, with the content that determines it."""
        config = self._read()
        yield from config.contents()
        yield from ((path, content) for path, _, content in config.files())

    def lineage(self, cache: Path, timeout: float) -> Lineage | None:
        """Return all revisions and their ancestors; None if Alembic cannot read them."""
        if self.revision not in _ALL:
            return None
        try:
            scripts = {each.file: each for each in self.scripts(cache, timeout)}
        except MigrationError:  # Alembic reports the reason when it migrates
            return None
        config = self._read()
        base, revisions = list(self._configuration(config)), {}
        for path, name, content in config.files():
            script = scripts.pop(path.resolve(), None)
            if script is None:
                base += [name, content]
            else:
                digest = hashlib.sha256(name + b"\0" + content).digest()
                revisions[script.name] = Revision(script.needs, digest)
        return None if scripts else Lineage(tuple(base), revisions)

    def scripts(self, cache: Path, timeout: float) -> list[Script]:
        """Return all revisions in order. Raises MigrationError if the lineage is broken.

        Alembic lists them in a child process. The list is stored in the directory ``cache``.
        """
        config = self._read()
        file = self._list_file(config, cache)
        scripts = read_list(file)
        if scripts is None:
            scripts = read_or_create_list(file, partial(self._write_list, config, timeout), timeout)
            if self._list_file(self._read(), cache) != file:
                file.unlink(missing_ok=True)
                raise MigrationError(
                    "migration files were changed while Alembic read them", hint="run again"
                )
        return scripts

    def environment_parts(self, scripts: Collection[Script]) -> Iterator[bytes]:
        """Yield everything that determines the schema except the files of ``scripts``."""
        config = self._read()
        yield from self._configuration(config)
        revision_files = {each.file for each in scripts}
        for path, name, content in config.files():
            if path.resolve() not in revision_files:
                yield name
                yield content

    def _read(self) -> AlembicConfig:
        return AlembicConfig(self.config, self.directories or (Path.cwd(),))

    def _list_file(self, config: AlembicConfig, cache: Path) -> Path:
        """Return the file for the list. Its name is a digest of everything that Alembic imports."""
        about = (config.script_location, config.version_locations, sys.version, version("alembic"))
        parts = [str(about).encode(), *self._configuration(config)]
        for _, name, content in config.files():
            parts += [name, content]
        return cache / f"{digest_parts(parts)[:32]}.json"

    def _write_list(self, config: AlembicConfig, timeout: float, file: Path) -> None:
        job = {**_config_files(config), "revisions_file": str(file)}
        ended = _child.run_job(
            "revisions", job, env={}, cwd=config.working_directory, timeout=timeout
        )
        raise_if_failed(ended, "asking Alembic for its revisions", timeout)

    def migrate(self, target: Target) -> str | None:
        return raise_if_failed(
            self.run("migrate", target),
            f"alembic upgrade {self.revision}",
            target.timeout,
            target.url,
        )

    def run(self, module: str, target: Target, **more: object) -> _child.ChildResult:
        """Run the job ``module`` of the child process with this environment and ``more``.

        The driver must suit env.py. If it does not, the other kind of driver is tried.
        """
        config = self._read()
        source, cache = _env_py(config), target.revisions_cache
        for number, (kind, url) in enumerate(env_py.urls_to_try(target.url, source, cache).items()):
            ended = self._run(module, target, config, url, **more)
            if ended.code != _child.WRONG_DRIVER:
                if number:
                    env_py.store_kind(kind, source, cache)
                break
        return ended

    def _run(
        self, module: str, target: Target, config: AlembicConfig, url: URL, **more: object
    ) -> _child.ChildResult:
        rendered = str(_urls.render(url))
        list_file = self._missing_list_file(config, target.revisions_cache)
        job = {
            **_config_files(config),
            "revision": self.revision,
            "url": rendered,
            "attributes": {"sqlalchemy.url": rendered, **self._attributes(target.url)},
            "connection": env_py.reads_connection(_env_py(config)),
            "revisions_file": str(list_file) if list_file else None,
            "dsn": str(_urls.asyncpg_dsn(target.url)),
            "database": target.url.database,
            "progress": str(target.progress) if target.progress else None,
            **more,
        }
        ended = _child.run_job(
            module, job, env=target.env, cwd=config.working_directory, timeout=target.timeout
        )
        if list_file and self._list_file(self._read(), list_file.parent) != list_file:
            list_file.unlink(missing_ok=True)  # of files that were changed meanwhile
        return ended

    def _attributes(self, url: URL) -> dict[str, object]:
        address = server_address.parse(_urls.render(url))
        self._dump_attributes()  # checks them
        return {
            name: url_templates.render_template(value, {"": address})
            if isinstance(value, str)
            else value
            for name, value in self.attributes.items()
        }

    def _dump_attributes(self) -> str:
        """Return the attributes as JSON, for the fingerprint.

        Raises ConfigurationError for attributes that are not JSON, or have unknown fields."""
        try:
            for value in self.attributes.values():
                if isinstance(value, str):
                    url_templates.check_template(value, constant=True)
            return json.dumps(self.attributes, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"Alembic(attributes=..) cannot be used: {error}",
                hint="use only values that JSON has, such as strings, numbers and lists: env.py"
                " runs in another process",
            ) from error

    def _missing_list_file(self, config: AlembicConfig, cache: Path | None) -> Path | None:
        """Return the file for the list of revisions if the job should write it, else None."""
        file = self._list_file(config, cache) if cache else None
        return file if file and read_list(file) is None else None

    def _configuration(self, config: AlembicConfig) -> Iterator[bytes]:
        yield b"alembic"
        yield self.revision.encode()
        if self.attributes:
            yield self._dump_attributes().encode()
        yield from (content for _, content in config.contents())


def _config_files(config: AlembicConfig) -> dict[str, str | None]:
    return {
        "ini": str(config.ini) if config.ini else None,
        "toml": str(config.toml) if config.toml else None,
    }


def _env_py(config: AlembicConfig) -> bytes:
    return (config.script_location / "env.py").read_bytes()
