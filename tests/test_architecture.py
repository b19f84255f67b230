"""The way through the house: what a module may know, and that nothing lies about unused."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pytest_pgtemplate"
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST, LONGEST_FUNCTION = 300, 60  # lines

# In the order of the data: a package knows only those named before it.
ROOMS = [
    *("errors", "_internals"),
    *("_urls", "_display", "_settings"),
    *("_server", "_embedded"),
    *("_child", "_template"),
    *("_reset", "_worker", "_archive"),
    "_engines",
    *("_run", "_report"),
    *("_fixtures", "_check"),
    *("plugin", "_cli", "__init__"),
]
# Those that face pytest. All others take plain values, and could serve another test runner.
KNOW_PYTEST = {
    "_internals",
    "_settings",
    "_run",
    "_report",
    "_fixtures",
    "_check",
    "plugin",
    "_cli",
}
KNOW_SETTINGS = {"_run", "_report", "_fixtures", "_check", "plugin", "_cli"}


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(module: Path) -> str:
    path = module.relative_to(PACKAGE.parent).with_suffix("")
    return ".".join(path.parts).removesuffix(".__init__")


def imports(module: Path) -> Iterator[str]:
    """The full name of all that a module imports, at its top or later, also for typing only."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def other_rooms(module: Path) -> Iterator[list[str]]:
    """What a module imports from other rooms: the room, then the way on from there."""
    for name in imports(module):
        package, *way = name.split(".")
        if package == PACKAGE.name and way[0] != room_of(module):
            yield way


def rooms_known_to(module: Path) -> set[str]:
    return {room for room, *_ in other_rooms(module)}


def face_of(room: str) -> set[str]:
    """The names that a folder hands on: the ``__all__`` of its ``__init__.py``."""
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8"))
    lists = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return set(chain.from_iterable(lists))


def test_every_module_has_its_place() -> None:
    assert sorted(ROOMS) == sorted({room_of(module) for module in MODULES})


def test_imports_point_one_way() -> None:
    for module in MODULES:
        before = ROOMS[: ROOMS.index(room_of(module))]
        assert rooms_known_to(module) <= set(before), module


def test_no_file_imports_itself_through_others() -> None:
    """Not even for typing only: a cycle means that one of the files has two jobs."""
    names = {module_name(module): module for module in MODULES}
    graph = {
        name: {
            imported if imported in names else imported.rpartition(".")[0]
            for imported in imports(module)
            if imported.partition(".")[0] == PACKAGE.name
        }
        - {name}
        for name, module in names.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_few_modules_and_packages_lie_at_the_top() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.suffix in {".py", ".typed"}]) <= 4
    assert len([path for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]) <= 17


def test_rooms_meet_at_their_faces() -> None:
    for module in MODULES:
        for room, *way in other_rooms(module):
            if way and (PACKAGE / room).is_dir():
                is_module = (PACKAGE / room / f"{way[0]}.py").is_file()
                assert len(way) <= 1 + is_module, f"{module} looks behind {room}: {way}"
                assert way[0] in face_of(room), f"{module}: {room} does not hand on {way[0]}"


def test_a_face_hands_on_only_what_others_use() -> None:
    used = {tuple(way[:2]) for module in MODULES for way in other_rooms(module)}
    for room in (path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        attributes = {
            (room, node.attr)
            for module in MODULES
            for node in ast.walk(ast.parse(module.read_text("utf-8")))
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == room
        }
        assert {(room, name) for name in face_of(room)} <= used | attributes, room


def test_few_know_pytest_and_few_the_settings() -> None:
    for module in MODULES:
        packages = {name.split(".")[0] for name in imports(module)}
        assert room_of(module) in KNOW_PYTEST or not packages & {"pytest", "_pytest"}, module
        assert room_of(module) in KNOW_SETTINGS or "_settings" not in rooms_known_to(module), module


def test_no_module_is_long() -> None:
    lines = {str(module): len(module.read_text("utf-8").splitlines()) for module in MODULES}

    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_no_function_is_long() -> None:
    long = [
        f"{module.name}:{node.lineno} {node.name}"
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]

    assert long == []


def test_every_import_names_what_it_wants() -> None:
    for module in MODULES:
        assert not [name for name in imports(module) if name.endswith(".*")], module


def test_every_sql_file_is_used() -> None:
    trees = [ast.parse(module.read_text("utf-8")) for module in MODULES]
    nodes = chain.from_iterable(map(ast.walk, trees))
    words = {node.value for node in nodes if isinstance(node, ast.Constant)}

    assert {script.stem for script in PACKAGE.rglob("*.sql")} <= words


def test_the_plugin_is_light_to_import() -> None:
    heavy = {"alembic", "asyncpg", "filelock", "platformdirs", "sqlalchemy"}
    code = f"import sys, pytest_pgtemplate.plugin; print(*{heavy} & set(sys.modules))"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.split() == []


def test_the_lowest_versions_allowed_are_those_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    allowed = [
        *project["project"]["dependencies"],
        *chain.from_iterable(project["project"]["optional-dependencies"].values()),
        *project["dependency-groups"]["tests"],
    ]
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini", "utf-8")

    assert sorted(tox["testenv:lowest"]["deps"].split()) == sorted(
        bound.replace(">=", "==") for bound in allowed
    )
