"""Which host runs the embedded server: others may share its cache directory, such as containers.

There the server's lock is seen, too. But its process ids, and perhaps its socket or port, mean
something else, so such a host neither uses nor stops the server.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pytest_pgtemplate._embedded import keeper
from pytest_pgtemplate.errors import EmbeddedServerError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACES = Path("/proc/self/ns")


def record_host(directory: Path, *, listens: bool) -> None:
    """Write the file ``host``, before the server starts. ``listens``: also on TCP."""
    (directory / "host").write_text(_identify(listens=listens), "utf-8")


def refuse_other_host(directory: Path, *, listens: bool, hint: str) -> None:
    """Raise EmbeddedServerError if the server is alive on another host or in another container."""
    with suppress(FileNotFoundError):
        host = (directory / "host").read_text("utf-8")
        if host != _identify(listens=listens) and keeper.is_alive(directory / "data"):
            raise EmbeddedServerError(
                f"The embedded server in {directory} runs on another host or in another container"
                " that shares this cache directory.",
                hint=hint,
            )


def _identify(*, listens: bool) -> str:
    """The kernel, and the namespaces in which process ids and the port have their meaning."""
    found = []
    with suppress(OSError):
        found.append(_BOOT.read_text("ascii").strip())
    for name in ("pid", "net") if listens else ("pid",):
        with suppress(OSError):
            found.append(str((_NAMESPACES / name).readlink()))
    return " ".join(found)
