"""Alembic: read its configuration without importing it, and run it in a child process."""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._template.lineage import Lineage, Revision
from pytest_pgtemplate._template.migrations import Target, raise_if_failed
from pytest_pgtemplate._template.revisions import Script, declared, in_order
from pytest_pgtemplate._urls import server_address, url_templates
from pytest_pgtemplate.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


_OPTIONS = (
    "script_location",
    "version_locations",
    "recursive_version_locations",
    "path_separator",
    "version_path_separator",
)
_ALL = ("head", "heads")  # targets for which every revision runs
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


@dataclass(frozen=True)
class Alembic:
    """Alembic's ``upgrade``, run by env.py in a child process.

    ``config`` is an alembic.ini, or a pyproject.toml with a ``[tool.alembic]`` table.
    ``attributes`` go into Alembic's ``config.attributes``, strings with the fields of ``pg_env``;
    "sqlalchemy.url" is always there, and so is "connection" for an env.py that reads it.
    """

    config: Path
    revision: str = "heads"
    attributes: Mapping[str, object] = field(default_factory=dict)

    def fingerprint(self) -> Iterator[bytes]:
        files = list(self._files())
        yield from self._configuration()
        for _, name, content in files:
            yield name
            yield content

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Every file that decides the schema, and what of it does."""
        if self._ini:
            yield self._ini, self._ini.read_bytes()
        if self._toml:
            yield self._toml, repr(_table(self._toml)).encode()
        yield from ((path, content) for path, _, content in self._files())

    def lineage(self) -> Lineage | None:
        """The revisions, as their files declare them; None when that cannot be read."""
        if self.revision not in _ALL:
            return None
        base, revisions = list(self._configuration()), {}
        scripts = set(self._scripts())
        for path, name, content in self._files():
            try:
                said = declared(content) if path in scripts else None
            except (ValueError, SyntaxError):
                return None
            if said is None:
                base += [name, content]
            elif said.name in revisions:
                return None
            else:
                digest = hashlib.sha256(name + b"\0" + content).digest()
                revisions[said.name] = Revision(said.needs, digest)
        # Labels and parts of names can stand for revisions, too: which, is for Alembic to say.
        known = all(each.down_revisions <= revisions.keys() for each in revisions.values())
        return Lineage(tuple(base), revisions) if known else None

    def scripts(self) -> list[Script]:
        """The revisions in order, in full. Raises MigrationError for a lineage that is broken."""
        return in_order(self._scripts())

    def environment_parts(self, scripts: Collection[Script]) -> Iterator[bytes]:
        """What else decides the schema."""
        yield from self._configuration()
        theirs = {each.file for each in scripts}
        for path, name, content in self._files():
            if path not in theirs:
                yield name
                yield content

    def migrate(self, target: Target) -> str | None:
        return raise_if_failed(
            self.run("migrate", target), "alembic upgrade " + self.revision, target
        )

    def run(self, module: str, target: Target, **more: object) -> _child.ChildResult:
        """Let a job of the child's have this environment, and ``more``."""
        url = _urls.render(self._url(target.url))
        job = {
            "ini": str(self._ini) if self._ini else None,
            "toml": str(self._toml) if self._toml else None,
            "revision": self.revision,
            "url": str(url),
            "attributes": {"sqlalchemy.url": str(url), **self._attributes(target.url)},
            "connection": self._reads_connection(),
            "dsn": str(_urls.asyncpg_dsn(target.url)),
            "database": target.url.database,
            "progress": str(target.progress) if target.progress else None,
            **more,
        }
        return _child.run_job(
            module, job, env=target.env, cwd=self.config.parent, timeout=target.timeout
        )

    def _attributes(self, url: URL) -> dict[str, object]:
        address = server_address.parse(_urls.render(url))
        self._dumped_attributes()
        return {
            name: url_templates.render_template(value, {"": address})
            if isinstance(value, str)
            else value
            for name, value in self.attributes.items()
        }

    def _dumped_attributes(self) -> str:
        """Raises ConfigurationError for what cannot be handed to another process, or filled."""
        try:
            for value in self.attributes.values():
                if isinstance(value, str):
                    url_templates.check_template(value, constant=True)
            return json.dumps(self.attributes, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"Alembic(attributes=..) cannot be used: {error}",
                hint="give strings, numbers, lists and the like; env.py runs in another process",
            ) from error

    def _reads_connection(self) -> bool:
        found = re.search(rb"""attributes\s*(\[|\.get\()\s*['"]connection['"]""", self._env_py)
        return found is not None

    @property
    def _env_py(self) -> bytes:
        return (self._home() / "env.py").read_bytes()

    def _url(self, url: URL) -> URL:
        """The driver must suit env.py: what it is written for cannot be asked, but can be read."""
        # Not the driver's name alone: .replace("+asyncpg", "") makes a sync URL.
        if re.search(rb"async(?!pg)", self._env_py):
            return _urls.async_url(url)
        try:
            found = _urls.sync_url(url)
        except ConfigurationError:
            return url
        if _urls.connect_args(url, _urls.driver_name(found)):
            raise ConfigurationError(
                "pg_url asks for TLS or options, of which env.py could tell pg8000 nothing: a URL"
                " of this driver has no place for them",
                hint="pip install 'psycopg[binary]', or let an async env.py use asyncpg",
            )
        return found

    def _configuration(self) -> Iterator[bytes]:
        yield b"alembic"
        yield self.revision.encode()
        if self.attributes:
            yield self._dumped_attributes().encode()
        if self._ini:
            yield self._ini.read_bytes()
        if self._toml:
            yield repr(_table(self._toml)).encode()

    def _files(self) -> Iterator[tuple[Path, bytes, bytes]]:
        """Below the script location, and in the version locations outside of it."""
        home = self._home()
        for directory in (home, *self._versions()):
            if directory == home or not directory.is_relative_to(home):
                yield from _files_under(directory)

    def _scripts(self) -> Iterator[Path]:
        """Where Alembic looks for revisions."""
        deep = str(self._options().get("recursive_version_locations")).lower() == "true"
        for directory in self._versions():
            yield from directory.rglob("*.py") if deep else directory.glob("*.py")

    def _home(self) -> Path:
        location = self._options().get("script_location")
        if not location:
            raise ConfigurationError(
                f"{self.config} names no script_location",
                hint="run `alembic init`, or point pg_alembic_ini at the file you use",
            )
        home = self._resolve(str(location))
        if not (home / "env.py").is_file():
            raise ConfigurationError(
                f"{self.config}: script_location {home} has no env.py",
                hint="correct script_location; it is relative to the configuration file",
            )
        return home

    def _versions(self) -> list[Path]:
        options = self._options()
        versions = options.get("version_locations") or []
        if isinstance(versions, str):
            separator = options.get("path_separator") or options.get("version_path_separator")
            versions = _split(versions, separator)
        return [self._resolve(part) for part in versions] or [self._home() / "versions"]

    # Alembic reads alembic.ini and pyproject.toml where there are both; the first one wins.

    @property
    def _ini(self) -> Path | None:
        if self.config.suffix != ".toml":
            return self.config
        beside = self.config.with_name("alembic.ini")
        return beside if beside.is_file() else None

    @property
    def _toml(self) -> Path | None:
        beside = self.config.with_name("pyproject.toml")
        if self.config.suffix == ".toml":
            return self.config
        return beside if beside.is_file() and _table(beside) else None

    def _options(self) -> Mapping[str, Any]:
        try:
            options = _table(self._toml) if self._toml else {}
            if self._ini:
                parser = configparser.ConfigParser({"here": str(self._ini.parent)})
                parser.read_string(self._ini.read_text("utf-8"))
                options |= {
                    name: parser.get("alembic", name)
                    for name in _OPTIONS
                    if parser.has_option("alembic", name)
                }
            return options
        except OSError as error:
            raise ConfigurationError(
                f"no Alembic configuration at {self.config}: {error.strerror}",
                hint="set pg_alembic_ini, or override the pg_migrations fixture",
            ) from error
        except (configparser.Error, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{self.config} cannot be read: {error}", hint="correct it, or set pg_alembic_ini"
            ) from error

    def _resolve(self, location: str) -> Path:
        location = location.replace("%(here)s", str(self.config.parent))
        package, colon, inside = location.partition(":")
        if colon and not Path(location).is_absolute():
            return self._package(package).joinpath(*inside.split(":"))
        return (self.config.parent / location).resolve()

    def _package(self, name: str) -> Path:
        try:
            spec = find_spec(name)
        except ImportError:
            spec = None
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations)))
        # prepend_sys_path, which Alembic heeds, mostly is the directory of its configuration.
        return self.config.parent.joinpath(*name.split("."))


def _table(pyproject: Path) -> dict[str, Any]:
    tool = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {})
    table: dict[str, Any] = tool.get("alembic", {})
    return table


def _split(locations: str, separator: str | None) -> list[str]:
    """As Alembic does; without a separator it has always been spaces and commas."""
    if separator in _SEPARATORS:
        parts = locations.split(_SEPARATORS[separator])
    else:
        parts = re.split(r"[\s,]+", locations)
    return [part.strip() for part in parts if part.strip()]


def _files_under(directory: Path) -> Iterator[tuple[Path, bytes, bytes]]:
    """Path, name and bytes of every file that a migration tool may read there."""
    for path in sorted(directory.rglob("*")):
        skipped = "__pycache__" in path.parts or path.suffix == ".pyc"
        if path.is_file() and not skipped and path.name != "script.py.mako":
            yield path, str(path.relative_to(directory)).encode(), path.read_bytes()
