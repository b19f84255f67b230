"""Seeding: a function of the user's that fills the template once, after the migrations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._template.migrations import Target, raise_if_failed
from pytest_pgtemplate.errors import ConfigurationError

Seed = Callable[[str], object]


def fingerprint(seed: Seed | None) -> Iterator[bytes]:
    """The source of ``seed``. Raises ConfigurationError when a child process could not find it."""
    if seed is not None:
        yield _where(seed)["name"].encode()
        yield inspect.getsource(seed).encode()


def run(seed: Seed, target: Target) -> None:
    """Call ``seed(url)`` in a child process. Raises MigrationError when it fails."""
    where = _where(seed)
    job = {**where, "url": str(_urls.render(target.url))}
    ended = _child.run_job("seed", job, env=target.env, cwd=Path.cwd(), timeout=target.timeout)
    raise_if_failed(ended, f"pg_seed {where['name']}", target)


def _where(seed: Seed) -> dict[str, str]:
    name = getattr(seed, "__qualname__", "")
    file = inspect.getsourcefile(seed) if inspect.isfunction(seed) else None
    if file is None or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"pg_seed gave {name or type(seed).__name__}, which another process cannot import",
            hint="let it return a function that is defined at the top of a module or conftest.py",
        )
    return {"name": name, "home": seed.__module__, "file": file}
