"""Stand-ins in SQL for extensions that the binaries lack. A missing function raises an error."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

SINCE = 18  # the first major version with extension_control_path
_CONTROL = """
comment = 'a stand-in for {name} that pytest-pgtemplate brings'
default_version = '{version}'
relocatable = false
trusted = true
"""
_VERSIONS = {"pgcrypto": "1.4-standin", "uuid-ossp": "1.1-standin"}
NAMES = tuple(_VERSIONS)


def texts() -> dict[str, str]:
    """Return the contents of the extension files, by file name."""
    files_by_name = {}
    for name, version in _VERSIONS.items():
        script = f"{_sql('sha1')}\n{_sql(name)}"
        own_sha1 = f"{name.replace('-', '_')}_sha1"  # both extensions may be in one schema
        files_by_name[f"{name}--{version}.sql"] = script.replace(":sha1", own_sha1)
        files_by_name[f"{name}.control"] = _CONTROL.format(name=name, version=version)
    return files_by_name


def _sql(name: str) -> str:
    source = files("pytest_pgtemplate._embedded").joinpath("extensions", f"{name}.sql")
    return source.read_text("utf-8")


def fingerprint() -> bytes:
    """Return the contents of all stand-ins."""
    return "\0".join(texts().values()).encode()


def write_extensions(directory: Path, real_files: Iterable[Path] = ()) -> str:
    """Write the files, and return an ``extension_control_path`` that prefers real extensions.

    ``real_files``: control files and scripts of real extensions, which replace stand-ins.
    """
    extension_directory = directory / "extension"
    shutil.rmtree(directory, ignore_errors=True)
    extension_directory.mkdir(parents=True)
    for name, text in texts().items():
        (extension_directory / name).write_text(text, "utf-8")
    for file in real_files:
        shutil.copyfile(file, extension_directory / file.name)
    for path in (directory, *extension_directory.iterdir(), extension_directory):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server may run as another user
    return f"$system:{directory}"
