"""The other way to a private server: a port on 127.0.0.1, and the password that it asks for.

Both are told before the server starts, so each is in a file beside its data.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
_PORTS = range(20_000, 32_000)  # below those that systems give to outgoing connections


@dataclass(frozen=True)
class Tcp:
    """How to reach the server, as its superuser."""

    port: int
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://postgres:{self.password}@{HOST}:{self.port}/postgres"

    @property
    def free(self) -> bool:
        """Whether nobody listens at the port, so that the server can."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
            try:
                listener.bind((HOST, self.port))
            except OSError:
                return False
        return True


def read(directory: Path) -> Tcp | None:
    """What was chosen for the server in this directory; None: nothing yet."""
    try:
        port, password = _port(directory).read_text(), password_file(directory).read_text()
    except FileNotFoundError:
        return None
    return Tcp(int(port), password.strip())


def choose(directory: Path) -> Tcp:
    """Choose a free port; the password stays, if there is one."""
    _port(directory).unlink(missing_ok=True)
    if not password_file(directory).exists():
        _write(password_file(directory), secrets.token_hex(16))
    ports = (Tcp(port, "") for port in random.sample(_PORTS, len(_PORTS)))
    _write(_port(directory), str(next(each.port for each in ports if each.free)))
    chosen = read(directory)
    assert chosen is not None
    return chosen


def password_file(directory: Path) -> Path:
    return directory / "password"


def _port(directory: Path) -> Path:
    return directory / "port"


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and for nobody else to read."""
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    scratch.replace(path)
