"""The database cluster of the embedded server: where it is, and its directories."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from platformdirs import user_cache_path

from pytest_pgtemplate._embedded import tcp
from pytest_pgtemplate._embedded.binaries import (
    OWN_SERVER,
    Binaries,
    find_binaries,
    is_accessible,
)
from pytest_pgtemplate._embedded.real_extensions import RealExtension, find_real_extensions
from pytest_pgtemplate.errors import EmbeddedServerError

if sys.platform != "win32":
    import pwd

OWN_CACHE = f"Set XDG_CACHE_HOME to a local directory with 200 MB of free space, or {OWN_SERVER}"

_MAX_SOCKET_PATH = 103  # bytes, on macOS; Linux allows 107
_PLAIN_PATH = re.compile(r"[\w/.+-]+", re.ASCII)  # drivers split a host at a comma or a colon


class Cluster(NamedTuple):
    """A data directory, the binaries for it, and the socket and port of its server."""

    binaries: Binaries
    dir: Path
    sockets: Path
    server_user: pwd.struct_passwd | None  # the user that runs the server; None: this user
    listens: bool  # also on TCP
    tcp: tcp.Tcp | None  # None until a port is chosen
    extensions: tuple[RealExtension, ...]  # of other wheels

    @property
    def data(self) -> Path:
        return self.dir / "data"

    @property
    def log(self) -> Path:
        return self.dir / "server.log"

    @property
    def port(self) -> int:
        return self.tcp.port if self.tcp else 5432

    @property
    def socket(self) -> Path:
        return self.sockets / f".s.PGSQL.{self.port}"

    @property
    def url(self) -> str:
        if self.tcp:
            return self.tcp.url
        host = quote(str(self.sockets), safe="")
        return f"postgresql+asyncpg://postgres@/postgres?host={host}&port={self.port}"


def locate(bindir: Path | None, version: int | None = None, listen: bool = False) -> Cluster:
    """Return the cluster for these binaries and this user. Creates nothing.

    A server opens a TCP port at its start or never. So ``listen`` selects another cluster, and
    users who did not ask for a port get a server without one.
    """
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "The embedded server does not run on Windows.",
            hint=f"Start PostgreSQL yourself, and {OWN_SERVER}",
        )
    server_user = _server_user(os.geteuid())
    binaries = find_binaries(bindir, version)
    root = _cache_root(server_user)
    extensions = find_real_extensions(binaries)
    identity = [root, binaries.bindir, binaries.version, os.geteuid(), *(["tcp"] if listen else [])]
    identity += [each.control for each in extensions]
    key = hashlib.sha256(os.fsencode("\0".join(map(str, identity)))).hexdigest()[:8]
    directory = root / f"pg{binaries.major}-{key}"
    sockets = directory / "sock"
    longest = f"{sockets}/.s.PGSQL.65535"
    if len(longest) > _MAX_SOCKET_PATH or not _PLAIN_PATH.fullmatch(longest):
        # Not $TMPDIR: runs with another TMPDIR must find the same server.
        sockets = Path(f"/tmp/pgtemplate-{os.geteuid()}-{key}")  # noqa: S108
    endpoint = tcp.read(directory) if listen else None
    return Cluster(binaries, directory, sockets, server_user, listen, endpoint, extensions)


def choose_tcp(cluster: Cluster) -> Cluster:
    """Choose a free port, and a password if there is none yet."""
    make_directories(cluster)
    endpoint = tcp.choose(cluster.dir)
    chown_to_server_user(tcp.password_file(cluster.dir), cluster)
    return cluster._replace(tcp=endpoint)


def _server_user(uid: int) -> pwd.struct_passwd | None:
    """Return the user that runs the server for root, because PostgreSQL refuses to run as root."""
    if uid == 0:
        for name in ("postgres", "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(name)
        raise EmbeddedServerError(
            "PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'.",
            hint=f"Run pytest as another user, or {OWN_SERVER}",
        )
    with suppress(KeyError):
        pwd.getpwuid(uid)
        return None
    raise EmbeddedServerError(
        f"PostgreSQL's initdb needs a user name, and user id {uid} has none on this system.",
        hint=f"Add the user to /etc/passwd, run pytest as another user, or {OWN_SERVER}",
    )


def _cache_root(server_user: pwd.struct_passwd | None) -> Path:
    root = user_cache_path("pytest-pgtemplate", appauthor=False).absolute()
    if server_user and not is_accessible(root, server_user):
        return Path("/var/cache/pytest-pgtemplate")
    return root


def make_directories(cluster: Cluster) -> None:
    missing = [path for path in (cluster.dir, *cluster.dir.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if cluster.server_user:
            path.chmod(0o755)  # independent of the umask: the server user must be able to enter
    _make_private(cluster.sockets, cluster)


def _make_private(path: Path, cluster: Cluster) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    # The server trusts everyone who can open its socket. In /tmp, another user may have created
    # this path, so lstat (a symbolic link is not accepted), mode and owner are checked.
    info = path.lstat()
    owners = {os.geteuid(), cluster.server_user.pw_uid if cluster.server_user else os.geteuid()}
    if not stat.S_ISDIR(info.st_mode) or info.st_mode & 0o077 or info.st_uid not in owners:
        raise EmbeddedServerError(
            f"{path} must be a directory that no other user can enter, and it is not.",
            hint=f"Check who created it, and remove it, or {OWN_SERVER}",
        )
    chown_to_server_user(path, cluster)


def chown_to_server_user(path: Path, cluster: Cluster) -> None:
    if cluster.server_user:
        os.chown(path, cluster.server_user.pw_uid, cluster.server_user.pw_gid)
