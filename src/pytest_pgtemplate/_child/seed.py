"""In the child process: call the sync or async function that the ``pg_seed`` fixture returns."""

from __future__ import annotations

import asyncio
import inspect
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from operator import attrgetter
from types import ModuleType
from typing import Any


def run(job: dict[str, Any]) -> None:
    seed = attrgetter(job["name"])(_import(job["seed_module"], job["file"]))
    try:
        result = seed(job["url"])
        if inspect.isawaitable(result):
            asyncio.run(_finish(result))
        else:
            _refuse_generator(job["name"], result)
    except SystemExit as end:  # a command-line tool ends with sys.exit(0)
        if end.code:
            raise


def _refuse_generator(name: str, result: Any) -> None:
    generator = getattr(result, "gen", result)  # also behind contextlib's decorators
    if inspect.isgenerator(generator) or inspect.isasyncgen(generator):
        raise TypeError(f"{name} has a yield, so that a call of it executes nothing: remove it")


async def _finish(result: Any) -> None:
    await result


def _import(name: str, file: str) -> ModuleType:
    """Import by name if that leads to ``file``, else by path (as for most conftest.py)."""
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is not None and spec.origin == file:
        return import_module(name)
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
