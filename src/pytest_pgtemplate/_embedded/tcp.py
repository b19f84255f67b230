"""The port on 127.0.0.1 and the password of the embedded server.

Both are known before the server starts, so each is in a file beside its data.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)  # below the ephemeral ports of Linux and macOS


@dataclass(frozen=True)
class Tcp:
    """The endpoint of the server, for its superuser."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://postgres:{self.password}@{HOST}:{self.port}/postgres"

    @property
    def is_free(self) -> bool:
        """Whether the server could listen at the port now."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
            try:
                listener.bind((HOST, self.port))
            except OSError:
                return False
        return True


def read(directory: Path) -> Tcp | None:
    """Return the endpoint chosen for the server in this directory, or None."""
    try:
        port, password = _port(directory).read_text(), password_file(directory).read_text()
    except FileNotFoundError:
        return None
    return Tcp(int(port), password.strip())


def choose(directory: Path) -> Tcp:
    """Choose a free port. An existing password stays."""
    _port(directory).unlink(missing_ok=True)
    if not password_file(directory).exists():
        _write(password_file(directory), secrets.token_hex(16))
    ports = (Tcp(port, "") for port in random.sample(_PORTS, len(_PORTS)))
    _write(_port(directory), str(next(endpoint.port for endpoint in ports if endpoint.is_free)))
    endpoint = read(directory)
    assert endpoint is not None
    return endpoint


def password_file(directory: Path) -> Path:
    return directory / "password"


def _port(directory: Path) -> Path:
    return directory / "port"


def _write(path: Path, text: str) -> None:
    """Write a file with mode 0600; the rename replaces an old one atomically."""
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    scratch.replace(path)
