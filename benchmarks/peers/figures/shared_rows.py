"""Rows that many tests need: built by each test, once a module or class, or once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import layers
from runs import Run, run_pytest

from peers.databases import BenchmarkServer, benchmark_server
from peers.results import Key, Results
from peers.sides import DJANGO, PGTEMPLATE, Side

NAME = "shared"
SIDES = (PGTEMPLATE, DJANGO)
LAYERS = {
    "pytest-pgtemplate, function fixtures": "function",
    "pytest-pgtemplate, module fixtures": "module",
    "pytest-pgtemplate, session and module fixtures": "session",
}
DJANGO_WAYS = {
    "pytest-django, setUp": "TestFunction",
    "pytest-django, setUpTestData": "TestClass",
}
BASE = dict.fromkeys(LAYERS, next(iter(LAYERS))) | dict.fromkeys(
    DJANGO_WAYS, next(iter(DJANGO_WAYS))
)


@dataclass(frozen=True)
class Form:
    """How many modules; each has 25 tests."""

    modules: int


TINY = Form(modules=2)
QUICK = Form(modules=4)
FULL = Form(modules=40)


def measure(
    form: Form, sides: tuple[Side, ...], turns: int, results: Results, directory: Path
) -> None:
    """Whole runs, each after one that is not counted, so that all of them find a warm server."""
    with benchmark_server(fsync=False) as server:
        results.describe("server, fsync off", server.description)
        ways: dict[str, Callable[[], Run]] = {}
        if PGTEMPLATE in sides:
            for name, way in LAYERS.items():
                ways[name] = _layers(directory / way, way, form.modules, server)
        if DJANGO in sides:
            root = _django(directory / "django", form.modules)
            for name, case in DJANGO_WAYS.items():
                ways[name] = partial(_run_django, root, case, form.modules, server)
        for call in ways.values():
            call()
        for turn in range(turns):
            for name, call in ways.items():
                point = f"{form.modules * layers.TESTS} tests, -n 2"
                results.measure(Key(NAME, point, name, turn), partial(_measured, call), server.pid)


def _measured(call: Callable[[], Run]) -> dict[str, float]:
    run = call()
    return {"wall": run.seconds, "CPU": run.cpu}


def _layers(root: Path, way: str, modules: int, server: BenchmarkServer) -> Callable[[], Run]:
    root.mkdir(parents=True)
    layers.lay_out(root, layers.WAYS[way], modules)
    url = server.url.set(drivername="postgresql+asyncpg")
    environment = {"PGTEMPLATE_URL": url.render_as_string(hide_password=False)}
    return lambda: layers.run(root, "2", modules, environment, server.pid)[0]


def _django(root: Path, modules: int) -> Path:
    sample = Path(__file__).parents[2] / "sample"
    shutil.copytree(sample, root, ignore=shutil.ignore_patterns("__pycache__", "test_*"))
    (root / "pytest.ini").write_text("[pytest]\n")
    for number in range(modules):
        shutil.copy(sample / "test_shared_django.py", root / f"test_{number:02}.py")
    return root


def _run_django(root: Path, case: str, modules: int, server: BenchmarkServer) -> Run:
    """With --reuse-db, which pytest-django's documentation recommends."""
    return run_pytest(
        root,
        *("-n", "2", "--dist", "loadscope", "--reuse-db", "-k", case),
        plugins=("xdist", *DJANGO.plugins),
        passed=modules * layers.TESTS,
        server=server.pid,
        environment={
            "DATABASE_URL": server.url.render_as_string(hide_password=False),
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "BENCH_TABLES": "97",
        },
    )
