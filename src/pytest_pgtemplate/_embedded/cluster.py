"""The private server's cluster: where it is, and how its server is launched."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from platformdirs import user_cache_path

from pytest_pgtemplate._embedded import keeper, stand_ins, tcp
from pytest_pgtemplate._embedded.binaries import Binaries, find_binaries, reachable, within_reach
from pytest_pgtemplate.errors import EmbeddedServerError

if sys.platform != "win32":
    import pwd

OWN_SERVER = "set pg_url (environment: PGTEMPLATE_URL) to a server of your own."
OWN_CACHE = f"Set XDG_CACHE_HOME to a local directory with 200 MB of room, or {OWN_SERVER}"

_SETTINGS = {
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    # What it holds is a cache: made anew rather than repaired.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1d",
    # Room for many workers with pools, and for thousands of tables in one transaction.
    "max_connections": "500",
    "max_locks_per_transaction": "128",
    "max_prepared_transactions": "64",
    # No test may run differently because a background process came by.
    "autovacuum": "off",
    "jit": "off",
}
_LONGEST_SOCKET_PATH = 103  # bytes, on macOS; Linux allows four more
_PLAIN = re.compile(r"[\w/.+-]+", re.ASCII)  # drivers take a comma or a colon apart


class Cluster(NamedTuple):
    """One data directory, the binaries that serve it, and the ways to its server."""

    binaries: Binaries
    dir: Path
    sockets: Path
    server_user: pwd.struct_passwd | None  # who runs the server; None: we ourselves
    listens: bool  # on TCP, too
    tcp: tcp.Tcp | None  # how, once that is chosen

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
    """The cluster for these binaries and this user. Nothing is made or changed.

    One that listens is a cluster of its own: a server opens a port when it starts, or never, and
    whoever asked for none has none.
    """
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "The embedded server does not run on Windows.",
            hint=f"Start PostgreSQL yourself, and {OWN_SERVER}",
        )
    server_user = _server_user(os.geteuid())
    binaries = find_binaries(bindir, version)
    root = _cache_root(server_user)
    identity = [root, binaries.bindir, binaries.version, os.geteuid(), *(["tcp"] if listen else [])]
    key = hashlib.sha256(os.fsencode("\0".join(map(str, identity)))).hexdigest()[:8]
    directory = root / f"pg{binaries.major}-{key}"
    sockets = directory / "sock"
    longest = f"{sockets}/.s.PGSQL.65535"
    if len(longest) > _LONGEST_SOCKET_PATH or not _PLAIN.fullmatch(longest):
        # Not $TMPDIR: runs that differ in it must still meet.
        sockets = Path(f"/tmp/pgtemplate-{os.geteuid()}-{key}")  # noqa: S108
    chosen = tcp.read(directory) if listen else None
    return Cluster(binaries, directory, sockets, server_user, listen, chosen)


def choose_tcp(cluster: Cluster) -> Cluster:
    """Give it a port that is free now, and a password."""
    make_directories(cluster)
    chosen = tcp.choose(cluster.dir)
    give_away(tcp.password_file(cluster.dir), cluster)
    return cluster._replace(tcp=chosen)


def _server_user(uid: int) -> pwd.struct_passwd | None:
    """Who runs the server in root's stead, because PostgreSQL refuses root."""
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
        hint=f"Add it to /etc/passwd, run pytest as another user, or {OWN_SERVER}",
    )


def _cache_root(server_user: pwd.struct_passwd | None) -> Path:
    root = user_cache_path("pytest-pgtemplate", appauthor=False).absolute()
    if server_user and not reachable(root, server_user):
        return Path("/var/cache/pytest-pgtemplate")
    return root


def make_directories(cluster: Cluster) -> None:
    missing = [path for path in (cluster.dir, *cluster.dir.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        if cluster.server_user:
            path.chmod(0o755)  # root's umask may be strict, and the server user has to get through
    _make_private(cluster.sockets, cluster)


def _make_private(path: Path, cluster: Cluster) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    owners = {os.geteuid(), cluster.server_user.pw_uid if cluster.server_user else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in owners:
        raise EmbeddedServerError(
            f"{path} should be a directory that nobody else can enter, and is not.",
            hint=f"Find out who made it and remove it, or {OWN_SERVER}",
        )
    give_away(path, cluster)


def give_away(path: Path, cluster: Cluster) -> None:
    if cluster.server_user:
        os.chown(path, cluster.server_user.pw_uid, cluster.server_user.pw_gid)


def launch(cluster: Cluster) -> None:
    """Start the server, which is not yet ready then."""
    settings = {
        **_SETTINGS,
        "unix_socket_directories": cluster.sockets,
        "listen_addresses": tcp.HOST if cluster.tcp else "",
        "port": cluster.port,
    }
    if cluster.binaries.major >= stand_ins.SINCE and ":" not in str(cluster.dir):
        settings["extension_control_path"] = stand_ins.offer(cluster.dir / "stand-ins")
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [programs(cluster) / "postgres", "-D", cluster.data, *options]
    lock = keeper.try_lock(cluster.data / "server.lock")
    assert lock is not None, "one process at a time launches a server, and only if none is alive"
    try:
        _let_go(spawn(cluster, command, pass_fds=[lock], **as_server_user(cluster)))
    finally:
        os.close(lock)


def launch_keeper(cluster: Cluster, lock: int) -> None:
    """Start the keeper, which inherits ``keeper.lock``: it is at no time free in between."""
    command = [sys.executable, "-I", "-S", keeper.__file__, lock, cluster.dir, cluster.socket]
    _let_go(spawn(cluster, command, pass_fds=[lock], cwd="/"))


def programs(cluster: Cluster) -> Path:
    if cluster.server_user is None:
        return cluster.binaries.bindir
    return within_reach(cluster.binaries, cluster.server_user, cluster.dir / "programs")


def as_server_user(cluster: Cluster) -> dict[str, Any]:
    # A small environment, since PG*, LC_* and TZ change what a server is.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    how: dict[str, Any] = {"cwd": cluster.dir, "env": {**kept, "LC_ALL": "C"}}
    if cluster.server_user:
        user, group = cluster.server_user.pw_uid, cluster.server_user.pw_gid
        how |= {"user": user, "group": group, "extra_groups": []}
    return how


def spawn(cluster: Cluster, command: list[Any], **how: Any) -> subprocess.Popen[bytes]:
    """No Ctrl-C reaches it, and it holds no pipe that whoever started pytest reads from."""
    with cluster.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **how,
        )


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """It outlives us; Popen need not warn that nobody waited for it."""
    process.returncode = 0


def start_log(cluster: Cluster) -> None:
    """Begin a new log, and keep the one in which the last server may have told how it ended."""
    with suppress(FileNotFoundError):
        cluster.log.replace(cluster.log.with_name("server.log.1"))
    cluster.log.touch()


def failed(cluster: Cluster, what: str) -> EmbeddedServerError:
    last_lines = cluster.log.read_text(errors="replace").splitlines()[-20:]
    what = f"PostgreSQL {cluster.binaries.version} in {cluster.binaries.bindir}: {what}."
    return EmbeddedServerError(
        "\n".join([what, f"The end of {cluster.log}:", *last_lines]), hint=OWN_CACHE
    )
