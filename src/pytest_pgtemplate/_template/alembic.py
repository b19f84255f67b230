"""Alembic migrations: fingerprint them without importing Alembic; run them in a child process."""

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
from pytest_pgtemplate._template.revisions import Script, parse_declaration, sort_scripts
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

    ``config``: an alembic.ini, or a pyproject.toml with a ``[tool.alembic]`` table. ``attributes``:
    added to Alembic's ``config.attributes``; strings may contain the fields of ``pg_env``. The
    plugin adds "sqlalchemy.url", and "connection" if env.py reads it.
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
        """Yield each file that determines the schema, with its relevant content."""
        if self._ini:
            yield self._ini, self._ini.read_bytes()
        if self._toml:
            yield self._toml, repr(_table(self._toml)).encode()
        yield from ((path, content) for path, _, content in self._files())

    def lineage(self) -> Lineage | None:
        """Return the revisions as declared in their files. None: this cannot be determined."""
        if self.revision not in _ALL:
            return None
        base, revisions = list(self._configuration()), {}
        scripts = set(self._scripts())
        for path, name, content in self._files():
            try:
                declaration = parse_declaration(content) if path in scripts else None
            except (ValueError, SyntaxError):
                return None
            if declaration is None:
                base += [name, content]
            elif declaration.name in revisions:
                return None
            else:
                digest = hashlib.sha256(name + b"\0" + content).digest()
                revisions[declaration.name] = Revision(declaration.needs, digest)
        # down_revision may also be a label or an abbreviation, which only Alembic can resolve.
        known = all(rev.down_revisions <= revisions.keys() for rev in revisions.values())
        return Lineage(tuple(base), revisions) if known else None

    def scripts(self) -> list[Script]:
        """Return the revisions in upgrade order. Raises MigrationError for a broken lineage."""
        return sort_scripts(self._scripts())

    def environment_parts(self, scripts: Collection[Script]) -> Iterator[bytes]:
        """Yield everything in the fingerprint except ``scripts``."""
        yield from self._configuration()
        script_files = {script.file for script in scripts}
        for path, name, content in self._files():
            if path not in script_files:
                yield name
                yield content

    def migrate(self, target: Target) -> str | None:
        return raise_if_failed(
            self.run("migrate", target), "alembic upgrade " + self.revision, target
        )

    def run(self, module: str, target: Target, **extra: object) -> _child.ChildResult:
        """Run a module of ``_child`` with this environment, and with ``extra`` in its job."""
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
            **extra,
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
        """Return ``attributes`` as JSON. Raises ConfigurationError if the child cannot get them."""
        try:
            for value in self.attributes.values():
                if isinstance(value, str):
                    url_templates.check_template(value, constant=True)
            return json.dumps(self.attributes, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"Alembic(attributes=..) cannot be used: {error}",
                hint="use strings, numbers, lists and dicts: env.py runs in another process",
            ) from error

    def _reads_connection(self) -> bool:
        pattern = rb"""attributes\s*(\[|\.get\()\s*['"]connection['"]"""
        return re.search(pattern, self._env_py) is not None

    @property
    def _env_py(self) -> bytes:
        return (self._script_location() / "env.py").read_bytes()

    def _url(self, url: URL) -> URL:
        """Return a URL with a driver for env.py, sync or async as its source indicates."""
        # "asyncpg" does not count: .replace("+asyncpg", "") makes a sync URL.
        if re.search(rb"async(?!pg)", self._env_py):
            return _urls.async_url(url)
        try:
            sync_url = _urls.sync_url(url)
        except ConfigurationError:
            return url
        if _urls.connect_args(url, _urls.driver_name(sync_url)):
            raise ConfigurationError(
                "pg_url has TLS parameters or options, and a pg8000 URL for env.py cannot contain"
                " them",
                hint="pip install 'psycopg[binary]', or use asyncpg in an async env.py",
            )
        return sync_url

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
        """Yield all files in the script location and in version locations outside of it."""
        root = self._script_location()
        for directory in (root, *self._versions()):
            if directory == root or not directory.is_relative_to(root):
                yield from _files_under(directory)

    def _scripts(self) -> Iterator[Path]:
        """Yield the files that Alembic loads as revisions."""
        recursive = str(self._options().get("recursive_version_locations")).lower() == "true"
        for directory in self._versions():
            yield from directory.rglob("*.py") if recursive else directory.glob("*.py")

    def _script_location(self) -> Path:
        location = self._options().get("script_location")
        if not location:
            raise ConfigurationError(
                f"{self.config} has no script_location",
                hint="run `alembic init`, or set pg_alembic_ini to the file that you use",
            )
        directory = self._resolve(str(location))
        if not (directory / "env.py").is_file():
            raise ConfigurationError(
                f"{self.config}: script_location {directory} has no env.py",
                hint="correct script_location; it is relative to the configuration file",
            )
        return directory

    def _versions(self) -> list[Path]:
        options = self._options()
        versions = options.get("version_locations") or []
        if isinstance(versions, str):
            separator = options.get("path_separator") or options.get("version_path_separator")
            versions = _split(versions, separator)
        return [self._resolve(part) for part in versions] or [self._script_location() / "versions"]

    # If both exist, Alembic reads alembic.ini and pyproject.toml; alembic.ini takes precedence.

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
                f"cannot read the Alembic configuration {self.config}: {error.strerror}",
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
        # Alembic adds prepend_sys_path, which usually is the directory of its configuration.
        return self.config.parent.joinpath(*name.split("."))


def _table(pyproject: Path) -> dict[str, Any]:
    tool = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {})
    table: dict[str, Any] = tool.get("alembic", {})
    return table


def _split(locations: str, separator: str | None) -> list[str]:
    """Split as Alembic does; without a path separator, at spaces and commas."""
    if separator in _SEPARATORS:
        parts = locations.split(_SEPARATORS[separator])
    else:
        parts = re.split(r"[\s,]+", locations)
    return [part.strip() for part in parts if part.strip()]


def _files_under(directory: Path) -> Iterator[tuple[Path, bytes, bytes]]:
    """Yield path, relative name and bytes of every file that env.py or a revision may read."""
    for path in sorted(directory.rglob("*")):
        skipped = "__pycache__" in path.parts or path.suffix == ".pyc"
        if path.is_file() and not skipped and path.name != "script.py.mako":
            yield path, str(path.relative_to(directory)).encode(), path.read_bytes()
