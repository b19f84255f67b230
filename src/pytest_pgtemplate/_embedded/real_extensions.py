"""Extensions that the chosen wheel lacks, from another installed wheel of the same version.

Whether they are used depends on the installed files only, not on the data directory or the running
server. So all processes decide alike, and the choice is part of the cluster's key and of the
fingerprint of a template.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pytest_pgtemplate._embedded import stand_ins, wheels
from pytest_pgtemplate._embedded.binaries import Binaries, find_binaries
from pytest_pgtemplate.errors import EmbeddedServerError


class RealExtension(NamedTuple):
    """An extension and the binaries that it belongs to."""

    name: str
    binaries: Binaries
    control: Path

    @property
    def files(self) -> list[Path]:
        """The control file and the SQL scripts."""
        return [self.control, *self.control.parent.glob(f"{self.name}--*.sql")]

    def library(self, bindir: Path) -> Path:
        """The library that belongs to the binaries in ``bindir``, which may be a copy of them.

        It stays there: it finds its own libraries by a relative path.
        """
        return next(bindir.parent.glob(f"lib*/**/{self.name}.*"), bindir / "missing")


def find_real_extensions(binaries: Binaries) -> tuple[RealExtension, ...]:
    """Return the extensions that need no stand-in, because another wheel has them.

    The binaries that a system has installed are complete, or have packages for the rest.
    """
    chosen = {wheel.source for wheel in wheels.WHEELS}
    if binaries.major < stand_ins.SINCE or binaries.source not in chosen:
        return ()
    missing = [name for name in stand_ins.NAMES if not _find_control(binaries, name)]
    found: dict[str, RealExtension] = {}
    for other in _same_version(binaries) if missing else ():
        for name in missing:
            control = _find_control(other, name)
            if control is not None and ":" not in str(control) and name not in found:
                extension = RealExtension(name, other, control)
                if _finds_its_libraries(extension.library(other.bindir)):
                    found[name] = extension
    return tuple(found.values())


def extensions_fingerprint(bindir: Path | None, version: int | None) -> bytes:
    """Return what the template's fingerprint includes: migrations may create these extensions.

    The parameters are those of ``find_binaries``.
    """
    try:
        real = find_real_extensions(find_binaries(bindir, version))
    except EmbeddedServerError:  # pg_server is overridden: its server is another one
        real = ()
    names = [f"{each.name} of {each.binaries.source}".encode() for each in real]
    return b"\0".join([stand_ins.fingerprint(), *names])


def _same_version(binaries: Binaries) -> Iterator[Binaries]:
    for wheel in wheels.WHEELS:
        bindir = wheel.bindir
        if bindir is None or bindir == binaries.bindir:
            continue
        try:
            other = find_binaries(bindir)
        except EmbeddedServerError:  # it does not run on this machine
            continue
        if other.version == binaries.version:
            yield other


@cache
def _finds_its_libraries(library: Path) -> bool:
    """Whether the system has all libraries that this one needs. False if that cannot be found out.

    Only the server can load it, because it calls functions of the server.
    """
    if (ldd := shutil.which("ldd")) is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603
            [ldd, library], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0 and "not found" not in done.stdout


def _find_control(binaries: Binaries, name: str) -> Path | None:
    return next(binaries.bindir.parent.glob(f"share/**/extension/{name}.control"), None)
