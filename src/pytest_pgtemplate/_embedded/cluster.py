"""The database cluster of the embedded server: its directories, and how the server is started."""

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

from pytest_pgtemplate._embedded import host, keeper, stand_ins, tcp
from pytest_pgtemplate._embedded.binaries import (
    Binaries,
    executable_bindir,
    find_binaries,
    is_accessible,
)
from pytest_pgtemplate._embedded.real_extensions import RealExtension, find_real_extensions
from pytest_pgtemplate.errors import EmbeddedServerError

if sys.platform != "win32":
    import pwd

OWN_SERVER = "set pg_url (environment: PGTEMPLATE_URL) to your own server."
OWN_CACHE = f"Set XDG_CACHE_HOME to a local directory with 200 MB of free space, or {OWN_SERVER}"

_SETTINGS = {
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    # The data is a cache. After an unclean shutdown, it is rebuilt and not recovered.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1d",
    # Enough for many workers with pools, and for thousands of tables in one transaction.
    "max_connections": "500",
    "max_locks_per_transaction": "128",
    "max_prepared_transactions": "64",
    # Background work would make tests depend on timing.
    "autovacuum": "off",
    "jit": "off",
}
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


def launch(cluster: Cluster) -> None:
    """Start the server, without waiting until it is ready."""
    settings = {
        **_SETTINGS,
        "unix_socket_directories": cluster.sockets,
        "listen_addresses": tcp.HOST if cluster.tcp else "",
        "port": cluster.port,
    }
    if cluster.binaries.major >= stand_ins.SINCE and ":" not in str(cluster.dir):
        settings |= _extension_settings(cluster)
    options = [f"--{name}={value}" for name, value in settings.items()]
    command = [programs(cluster) / "postgres", "-D", cluster.data, *options]
    lock = keeper.try_lock(cluster.data / "server.lock")
    assert lock is not None, "start.lock allows one launcher at a time, and no server is alive"
    host.record_host(cluster.dir, listens=cluster.listens)
    try:
        # The server and its backends inherit the descriptor, so the lock is free only when the
        # last of these processes has ended, even after a kill -9 of the postmaster.
        spawn_detached(cluster, command, pass_fds=[lock], **server_user_options(cluster))
    finally:
        os.close(lock)


def _extension_settings(cluster: Cluster) -> dict[str, object]:
    """Where the server finds the extensions that its binaries lack: real ones or stand-ins."""
    files: list[Path] = []
    libraries: list[str] = ["$libdir"]
    for extension in cluster.extensions:
        library = extension.library(_accessible_bindir(extension.binaries, cluster))
        files += extension.files
        libraries.append(str(library.parent))
    return {
        "extension_control_path": stand_ins.write_extensions(cluster.dir / "stand-ins", files),
        "dynamic_library_path": ":".join(dict.fromkeys(libraries)),
    }


def launch_keeper(cluster: Cluster, lock: int) -> None:
    """Start the keeper. It inherits ``keeper.lock``, so the lock is never free in between."""
    command = [sys.executable, "-I", "-S", keeper.__file__, lock, cluster.dir, cluster.socket]
    spawn_detached(cluster, command, pass_fds=[lock], cwd="/")


def programs(cluster: Cluster) -> Path:
    return _accessible_bindir(cluster.binaries, cluster)


def _accessible_bindir(binaries: Binaries, cluster: Cluster) -> Path:
    if cluster.server_user is None:
        return binaries.bindir
    # A directory for each package, which appears when the copy is complete.
    others = binaries != cluster.binaries
    copies = f"programs-{binaries.bindir.parents[1].name}" if others else "programs"
    return executable_bindir(binaries, cluster.server_user, cluster.dir / copies)


def server_user_options(cluster: Cluster) -> dict[str, Any]:
    """Return the options of ``Popen`` that run a program as the server user."""
    # Few variables: PG*, LC_* and TZ would change the server.
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    options: dict[str, Any] = {"cwd": cluster.dir, "env": {**kept, "LC_ALL": "C"}}
    if cluster.server_user:
        user, group = cluster.server_user.pw_uid, cluster.server_user.pw_gid
        options |= {"user": user, "group": group, "extra_groups": []}
    return options


def spawn_detached(cluster: Cluster, command: list[Any], **options: Any) -> None:
    """Start a program that outlives this process, and is not its child.

    ``os.wait`` of an application or tool would meet a child that it does not know. A shell starts
    the program in the background and ends: that is faster than a second ``fork`` in Python, which
    is not safe in a process with threads.
    """
    shell = ["/bin/sh", "-c", '"$@" &', "sh"]
    with spawn(cluster, [*shell, *command], **options):
        pass  # waits for the shell


def spawn(cluster: Cluster, command: list[Any], **options: Any) -> subprocess.Popen[bytes]:
    """Start a program in its own session, which no Ctrl-C reaches, with its output in the log."""
    # It inherits no pipe: the reader of pytest's output would otherwise wait for the server's end.
    with cluster.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )


def rotate_log(cluster: Cluster) -> None:
    """Begin a new log, and keep the previous one: it may show why the last server ended."""
    with suppress(FileNotFoundError):
        cluster.log.replace(cluster.log.with_name("server.log.1"))
    cluster.log.touch()


def server_failure(cluster: Cluster, reason: str) -> EmbeddedServerError:
    """Return an error with ``reason`` and the end of the server's log."""
    last_lines = cluster.log.read_text(errors="replace").splitlines()[-20:]
    message = f"PostgreSQL {cluster.binaries.version} in {cluster.binaries.bindir}: {reason}."
    return EmbeddedServerError(
        "\n".join([message, f"The end of {cluster.log}:", *last_lines]), hint=OWN_CACHE
    )
