"""Read Alembic's configuration without importing Alembic: the script and version locations.

Importing ``alembic.config`` would take longer than everything else in a run with a warm cache.
"""

from __future__ import annotations

import configparser
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytest_pgtemplate.errors import ConfigurationError, warn

_OPTIONS = (
    "script_location",
    "version_locations",
    "recursive_version_locations",
    "prepend_sys_path",
    "sourceless",
    "path_separator",
    "version_path_separator",
)
_SEPARATORS = {"space": " ", "newline": "\n", "os": os.pathsep, ":": ":", ";": ";"}


class AlembicConfig:
    """An alembic.ini, or a pyproject.toml with a ``[tool.alembic]`` table.

    Alembic resolves relative paths against its working directory. So ``directories`` are tried as
    working directories, and then the directory of the file.
    """

    def __init__(self, file: Path, directories: Iterable[Path]) -> None:
        self.file = file.absolute()
        self._directories = [*directories, self.file.parent]

    # If both exist, Alembic reads alembic.ini and pyproject.toml; alembic.ini takes precedence.

    @cached_property
    def ini(self) -> Path | None:
        if self.file.suffix != ".toml":
            return self.file
        ini = self.file.with_name("alembic.ini")
        return ini if ini.is_file() else None

    @cached_property
    def toml(self) -> Path | None:
        if self.file.suffix == ".toml":
            return self.file
        pyproject = self.file.with_name("pyproject.toml")
        return pyproject if pyproject.is_file() and _table(pyproject) else None

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Yield the files, with the content that determines the schema."""
        if self.ini:
            yield self.ini, self.ini.read_bytes()
        if self.toml:
            yield self.toml, repr(_table(self.toml)).encode()

    @cached_property
    def working_directory(self) -> Path:
        """The directory for Alembic's relative paths. Raises ConfigurationError."""
        locations = [self._script_location, *self._version_locations]
        if not any(map(_is_relative, locations)):
            directories = self._directories[-1:]
        else:
            directories = list(dict.fromkeys(self._directories))
        roots = {each: self._resolve(self._script_location, each) for each in directories}
        found = [each for each, root in roots.items() if (root / "env.py").is_file()]
        if not found:
            places = ", ".join(str(root) for root in dict.fromkeys(roots.values()))
            raise ConfigurationError(
                f"{self.file}: script_location {self._script_location} has no env.py; the plugin"
                f" searched {places}",
                hint="correct script_location; a relative path is resolved against the working"
                " directory, then the rootdir, then the directory of the configuration file",
            )
        chosen = next(filter(self._has_version_locations, found), found[0])
        if len(others := dict.fromkeys(roots[each] for each in found)) > 1:
            warn(
                f"{self.file}: script_location {self._script_location} may mean"
                f" {' or '.join(map(str, others))}. The first one in the order of Alembic is"
                f" used: {roots[chosen]}. To name another one, write %(here)s/.."
            )
        return chosen

    def _has_version_locations(self, directory: Path) -> bool:
        return all(self._resolve(each, directory).is_dir() for each in self._version_locations)

    @cached_property
    def script_location(self) -> Path:
        """The directory with env.py."""
        return self._resolve(self._script_location, self.working_directory)

    @cached_property
    def version_locations(self) -> list[Path]:
        """The directories with revisions."""
        locations = self._version_locations
        found = [self._resolve(each, self.working_directory) for each in locations]
        return found or [self.script_location / "versions"]

    def files(self) -> Iterator[tuple[Path, bytes, bytes]]:
        """Yield path, name and bytes of each file in the script and version locations."""
        root = self.script_location
        for directory in (root, *self.version_locations):
            if directory == root or not directory.is_relative_to(root):
                yield from _files_under(directory, sourceless=self._is_true("sourceless"))

    # Options

    def _is_true(self, option: str) -> bool:
        return str(self._options.get(option)).lower() == "true"

    @cached_property
    def _script_location(self) -> str:
        location = self._options.get("script_location")
        if not location:
            raise ConfigurationError(
                f"{self.file} has no script_location",
                hint="run `alembic init`, or point pg_alembic_ini at the file you use",
            )
        return self._with_here(str(location))

    @cached_property
    def _version_locations(self) -> list[str]:
        legacy = self._options.get("version_path_separator")
        return self._paths("version_locations", self._options.get("path_separator") or legacy)

    def _paths(self, option: str, separator: str | None) -> list[str]:
        paths = self._options.get(option) or []
        if isinstance(paths, str):
            paths = _split(paths, separator)
        return [self._with_here(str(each)) for each in paths]

    def _with_here(self, path: str) -> str:
        return path.replace("%(here)s", str(self.file.parent))

    @cached_property
    def _options(self) -> Mapping[str, Any]:
        try:
            options = _table(self.toml) if self.toml else {}
            if self.ini:
                parser = configparser.ConfigParser({"here": str(self.ini.parent)})
                parser.read_string(self.ini.read_text("utf-8"))
                options |= {
                    name: parser.get("alembic", name)
                    for name in _OPTIONS
                    if parser.has_option("alembic", name)
                }
            return options
        except OSError as error:
            raise ConfigurationError(
                f"no Alembic configuration at {self.file}: {error.strerror}",
                hint="set pg_alembic_ini, or override the pg_migrations fixture",
            ) from error
        except (configparser.Error, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{self.file} cannot be read: {error}", hint="correct it, or set pg_alembic_ini"
            ) from error

    # Locations

    def _resolve(self, location: str, directory: Path) -> Path:
        if not _is_resource(location):
            return (directory / location).resolve()
        package, *inside = location.split(":")
        return self._package(package, directory).joinpath(*inside)

    def _package(self, name: str, directory: Path) -> Path:
        # As in Alembic, which inserts prepend_sys_path at the start of sys.path.
        ahead = self._paths("prepend_sys_path", self._options.get("path_separator"))
        for path in ahead:
            found = directory.joinpath(path, *name.split("."))
            if found.is_dir():
                return found
        try:
            spec = find_spec(name)
        except ImportError:
            spec = None
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations)))
        return directory.joinpath(*name.split("."))


def _is_resource(location: str) -> bool:
    """Whether the location is in a package: ``package:directory``."""
    return ":" in location and not Path(location).is_absolute()


def _is_relative(location: str) -> bool:
    return not Path(location).is_absolute()


def _table(pyproject: Path) -> dict[str, Any]:
    tool = tomllib.loads(pyproject.read_text("utf-8")).get("tool", {})
    table: dict[str, Any] = tool.get("alembic", {})
    return table


def _split(locations: str, separator: str | None) -> list[str]:
    """Split like Alembic: without ``separator``, at spaces and commas."""
    if separator in _SEPARATORS:
        parts = locations.split(_SEPARATORS[separator])
    else:
        parts = re.split(r"[\s,]+", locations)
    return [part.strip() for part in parts if part.strip()]


def _files_under(directory: Path, *, sourceless: bool) -> Iterator[tuple[Path, bytes, bytes]]:
    """Yield every file below ``directory`` that a migration tool may read."""
    for path in sorted(_walk(directory)):
        compiled = "__pycache__" in path.parts or path.suffix == ".pyc"
        if compiled and not (sourceless and _stands_for_source(path)):
            continue
        if path.is_file() and path.name != "script.py.mako":
            yield path, str(path.relative_to(directory)).encode(), path.read_bytes()


def _walk(directory: Path) -> Iterator[Path]:
    """Yield every file below ``directory``, also in directories that symbolic links lead to."""
    seen = set()
    for parent, directories, files in os.walk(directory, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            directories.clear()
            continue
        seen.add(real)
        directories.sort()  # of two ways to a directory, all machines take the same
        yield from (Path(parent, name) for name in files)


def _stands_for_source(path: Path) -> bool:
    """Whether Alembic loads this compiled file because there is no source."""
    directory = path.parent.parent if path.parent.name == "__pycache__" else path.parent
    return path.suffix == ".pyc" and not (directory / f"{path.name.split('.')[0]}.py").exists()
