"""Stand-ins in SQL for extensions that the binaries lack. A missing function raises an error."""

from __future__ import annotations

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
    """Return what the template's fingerprint includes: migrations may create these extensions."""
    return "\0".join(texts().values()).encode()


def write_extensions(directory: Path) -> str:
    """Write the files, and return an ``extension_control_path`` that prefers real extensions."""
    extension_directory = directory / "extension"
    extension_directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (extension_directory / name).write_text(text, "utf-8")
    for path in (directory, *extension_directory.iterdir(), extension_directory):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server may run as another user
    return f"$system:{directory}"
