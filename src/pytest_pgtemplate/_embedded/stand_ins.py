"""Extensions that the server's binaries lack, written in SQL. What they cannot do, they say."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SINCE = 18  # the major version that looks for extensions in a second directory
_CONTROL = """
comment = 'a stand-in for {name} that pytest-pgtemplate brings'
default_version = '{version}'
relocatable = false
trusted = true
"""
_VERSIONS = {"pgcrypto": "1.4-standin", "uuid-ossp": "1.1-standin"}


def texts() -> dict[str, str]:
    """The files that make them up, by name."""
    made = {}
    for name, version in _VERSIONS.items():
        script = f"{_sql('sha1')}\n{_sql(name)}"
        own_sha1 = f"{name.replace('-', '_')}_sha1"  # both may be in one schema
        made[f"{name}--{version}.sql"] = script.replace(":sha1", own_sha1)
        made[f"{name}.control"] = _CONTROL.format(name=name, version=version)
    return made


def _sql(name: str) -> str:
    source = files("pytest_pgtemplate._embedded").joinpath("extensions", f"{name}.sql")
    return source.read_text("utf-8")


def fingerprint() -> bytes:
    """They are part of the schema that migrations make with them."""
    return "\0".join(texts().values()).encode()


def offer(directory: Path) -> str:
    """Write them there, and return the ``extension_control_path`` on which the real ones win."""
    place = directory / "extension"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts().items():
        (place / name).write_text(text, "utf-8")
    for path in (directory, *place.iterdir(), place):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server may be another user's
    return f"$system:{directory}"
