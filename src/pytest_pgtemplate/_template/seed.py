"""Seeding: call a function of the user once, after the migrations, to insert rows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_pgtemplate import _child, _urls
from pytest_pgtemplate._template.target import Target, raise_if_failed
from pytest_pgtemplate.errors import ConfigurationError

Seed = Callable[[str], object]


def fingerprint(seed: Seed | None) -> Iterator[bytes]:
    """Yield the file of ``seed``. Raises ConfigurationError if a child cannot import it."""
    if seed is not None:
        path = _import_path(seed)
        yield path["name"].encode()
        yield Path(path["file"]).read_bytes()


def run(seed: Seed, target: Target) -> None:
    """Call ``seed(url)`` in a child process. Raises MigrationError if it fails."""
    job = {**_import_path(seed), "url": str(_urls.render(target.url))}
    result = _child.run_job("seed", job, env=target.env, cwd=Path.cwd(), timeout=target.timeout)
    raise_if_failed(result, f"pg_seed {job['name']}", target.timeout, target.url)


def _import_path(seed: Seed) -> dict[str, str]:
    name = getattr(seed, "__qualname__", "")
    # A decorator with functools.wraps leads to the function in the user's file.
    file = inspect.getsourcefile(inspect.unwrap(seed)) if inspect.isfunction(seed) else None
    if file is None or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"pg_seed returns {name or type(seed).__name__}, which another process cannot import",
            hint="return a function that is defined at the top level of a module or conftest.py",
        )
    return {"name": name, "seed_module": seed.__module__, "file": file}
