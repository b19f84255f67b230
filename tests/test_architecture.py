"""The architecture: what a module may import, how things are named, and that nothing is unused."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from configparser import ConfigParser
from functools import cache
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from textwrap import dedent

import pytest

from support.programs import PROGRAMS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pytest_pgtemplate"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = [*(ROOT / "tests").glob("*.py"), *(ROOT / "tests" / "support").glob("*.py")]
SQL_FILES = sorted(PACKAGE.rglob("*.sql"))
SCRIPTS = sorted(PACKAGE.rglob("*.js"))
LONGEST, LONGEST_FUNCTION, LONGEST_PROGRAM = 300, 60, 9  # lines
# A function, from its first to its last line. In JavaScript, nested ones count with the outer one.
FUNCTION_BLOCK = {
    ".sql": re.compile(
        r"^(?:CREATE (?:OR REPLACE )?FUNCTION|DO)\b[^$]*(\$\w*\$).*?\1;$", re.DOTALL | re.MULTILINE
    ),
    ".js": re.compile(r"^(?:async )?function\b.*?^}$", re.DOTALL | re.MULTILINE),
}
# A definition, with its name, in these languages.
DEFINITION = {
    ".sql": re.compile(r"\b(?:FUNCTION|TABLE|TYPE|VIEW) (?:IF NOT EXISTS )?(?:\w+\.)?(\w+)"),
    ".js": re.compile(r"\b(?:function|class) (\w+)|\bconst (\w+) = \("),
}
COMMENT = {".sql": re.compile(r"--.*"), ".js": re.compile(r"(?<!:)//.*")}

# In the order of the data: a package knows only those named before it.
PACKAGES = [
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


# Words without a meaning in PostgreSQL, pytest, SQLAlchemy or Alembic: not in any identifier.
BANNED_WORDS = {
    *("afresh", "anew", "dearest", "going", "gone", "nobody"),
    *("tell", "tells", "told", "unhurried", "whoever"),
}
# Names that are too general to be found, or that once stood for a term of the field (LoopPool,
# WorkerInput, ServerHandle, SparePool, ..). A class or function must not be called so.
BANNED_NAMES = {
    *(
        "as",
        "each",
        "first",
        "in",
        "look",
        "of",
        "once",
        "order",
        "put_right",
        "set",
        "shut",
        "which",
    ),
    *("board", "ending", "ground", "hold", "home", "isolated", "stock", "tell", "told"),
}
ALLOWED = {
    "nobody": "the system user of this name",
    "set": "Address.set has the signature of SQLAlchemy's URL.set",
}


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text("utf-8"))


def package_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_name(module: Path) -> str:
    path = module.relative_to(PACKAGE.parent).with_suffix("")
    return ".".join(path.parts).removesuffix(".__init__")


def imports(module: Path) -> Iterator[str]:
    """The full name of all that a module imports, at its top or later, also for typing only."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of_other_packages(module: Path) -> Iterator[list[str]]:
    """Yield what a module imports from other packages, as a list that begins with the package."""
    for name in imports(module):
        distribution, *path = name.split(".")
        if distribution == PACKAGE.name and path[0] != package_of(module):
            yield path


def packages_known_to(module: Path) -> set[str]:
    return {package for package, *_ in imports_of_other_packages(module)}


def public_names(package: str) -> set[str]:
    """Return the ``__all__`` of a package's ``__init__.py``."""
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text("utf-8"))
    lists = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    return set(chain.from_iterable(lists))


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield every name that a module defines: classes, functions, parameters and variables."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.arg():
                yield node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.attr
            case ast.alias(asname=str()):
                yield str(node.asname)


def definitions(tree: ast.AST) -> Iterator[str]:
    """Yield the names of classes and functions, which other modules can use."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def words(identifier: str) -> set[str]:
    """Split at underscores and at capital letters: ``LoopPool`` becomes ``loop``, ``pool``."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)}


def test_every_package_has_its_place() -> None:
    assert sorted(PACKAGES) == sorted({package_of(module) for module in MODULES})


def test_imports_point_one_way() -> None:
    for module in MODULES:
        before = PACKAGES[: PACKAGES.index(package_of(module))]
        assert packages_known_to(module) <= set(before), module


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


def test_packages_import_only_the_public_names_of_others() -> None:
    for module in MODULES:
        for package, *path in imports_of_other_packages(module):
            if path and (PACKAGE / package).is_dir():
                is_module = (PACKAGE / package / f"{path[0]}.py").is_file()
                assert len(path) <= 1 + is_module, f"{module} imports {path} of {package}"
                assert path[0] in public_names(package), f"{module}: {path[0]} of {package}"


def test_public_names_are_used_by_other_packages() -> None:
    used = {tuple(path[:2]) for module in MODULES for path in imports_of_other_packages(module)}
    for package in (path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()):
        attributes = {
            (package, node.attr)
            for module in MODULES
            for node in ast.walk(parsed(module))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == package
        }
        assert {(package, name) for name in public_names(package)} <= used | attributes, package


def test_few_know_pytest_and_few_the_settings() -> None:
    for module in MODULES:
        packages = {name.split(".")[0] for name in imports(module)}
        assert package_of(module) in KNOW_PYTEST or not packages & {"pytest", "_pytest"}, module
        knows_settings = "_settings" in packages_known_to(module)
        assert package_of(module) in KNOW_SETTINGS or not knows_settings, module


def test_internals_of_pytest_are_imported_in_one_package() -> None:
    users = {
        module_name(module)
        for module in MODULES
        if "_pytest" in {name.split(".")[0] for name in imports(module)}
    }

    assert users == {"pytest_pgtemplate._internals.pytest"}


def test_no_message_names_a_file_of_the_repository() -> None:
    """A user of the installed package has no ``docs/``; docstrings may name it."""
    found = [
        f"{module.name}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if re.search(r"\b(docs|benchmarks)/|\.md\b", node.value)
        and node.value not in docstrings(module)
    ]

    found += [
        f"{file.name}:{number}"
        for file in SQL_FILES
        for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1)
        if re.search(r"\b(docs|benchmarks)/|\.md\b", line.partition("--")[0])
    ]
    assert found == []


def docstrings(module: Path) -> set[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(parsed(module)) if isinstance(node, kinds)]
    return {ast.get_docstring(node, clean=False) or "" for node in nodes}


def test_no_file_is_long() -> None:
    files = [*MODULES, *SQL_FILES, *SCRIPTS]
    lines = {str(file): len(file.read_text("utf-8").splitlines()) for file in files}

    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_no_function_is_long() -> None:
    """Applies to Python, to JavaScript and to the functions and DO blocks of SQL."""
    lengths = dict(chain.from_iterable(map(function_lengths, [*MODULES, *SQL_FILES, *SCRIPTS])))

    kinds = {name.partition(":")[0].rpartition(".")[2] for name in lengths}
    assert kinds == {"py", "sql", "js"}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}


def function_lengths(file: Path) -> Iterator[tuple[str, int]]:
    """Yield the name of each function in a file, after that of the file, and its lines."""
    if file.suffix == ".py":
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                yield f"{file.name}:{node.lineno} {node.name}", lines
        return
    for block in FUNCTION_BLOCK[file.suffix].finditer(file.read_text("utf-8")):
        yield f"{file.name}: {block[0].splitlines()[0]}", block[0].count("\n") + 1


def test_no_test_contains_a_long_program() -> None:
    """The program of a child run is a file in tests/programs, which ruff and an editor see."""
    for file in TESTS:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                lines = dedent(node.value).strip().splitlines()
                is_long = len(lines) > LONGEST_PROGRAM and _is_python("\n".join(lines))
                assert not is_long, f"{file.name}:{node.lineno}"


def _is_python(text: str) -> bool:
    """Whether it is a program: no prose, and no braces that ``str.format`` may replace."""
    try:
        return not re.search(r"\{\w+(!r)?\}", text) and bool(ast.parse(text))
    except SyntaxError:
        return False


def test_every_program_of_the_tests_is_used() -> None:
    texts = [file.read_text("utf-8") for file in TESTS]
    for file in PROGRAMS.rglob("*.*"):
        name = file.relative_to(PROGRAMS)
        used = f'"{name.as_posix()}"', f'PROGRAMS / "{name.parts[0]}"'
        assert file.suffix == ".pyc" or any(each in text for each in used for text in texts), name


def test_every_import_names_what_it_wants() -> None:
    for module in MODULES:
        assert not [name for name in imports(module) if name.endswith(".*")], module


def test_every_sql_file_and_script_is_used() -> None:
    trees = [parsed(module) for module in MODULES]
    nodes = chain.from_iterable(map(ast.walk, trees))
    constants = {node.value for node in nodes if isinstance(node, ast.Constant)}

    assert {file.stem for file in [*SQL_FILES, *SCRIPTS]} <= constants


@pytest.mark.usefixtures("new_interpreters")
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
        bound.replace(">=", "==").partition(",")[0] for bound in allowed
    )


def test_no_identifier_contains_a_banned_word() -> None:
    folders = (PACKAGE, *(ROOT / name for name in ("tests", "benchmarks", "examples")))
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in chain.from_iterable(folder.rglob("*.py") for folder in folders)
        for name in names_against_the_style(parsed(path))
    }
    found |= {
        f"{path.relative_to(ROOT)}: {name}"
        for path in [*SQL_FILES, *SCRIPTS]
        for name in script_names_against_the_style(path.read_text("utf-8"), path.suffix)
    }

    assert found == set()


def names_against_the_style(tree: ast.AST) -> Iterator[str]:
    yield from (name for name in identifiers(tree) if words(name) & BANNED_WORDS - ALLOWED.keys())
    for name in definitions(tree):
        if name.strip("_").lower() in BANNED_NAMES - ALLOWED.keys():
            yield name


def script_names_against_the_style(script: str, kind: str) -> Iterator[str]:
    """Apply the same to SQL and JavaScript, and to their strings: SQL builds statements in them."""
    code = COMMENT[kind].sub("", script)
    for name in re.findall(r"[A-Za-z_]\w*", code):
        if words(name) & BANNED_WORDS - ALLOWED.keys():
            yield name
    for name in chain.from_iterable(match.groups() for match in DEFINITION[kind].finditer(code)):
        if name and name.removeprefix("pgtemplate_").lower() in BANNED_NAMES - ALLOWED.keys():
            yield name


def test_a_banned_word_is_found_in_any_identifier() -> None:
    tree = ast.parse("class Told: pass\ndef x(_toldOnce): gone_by = 1\ndef _of(): untold = 1")
    sql = "CREATE FUNCTION s.look(told int) -- nobody\nAS $$ EXECUTE 'SELECT gone_by, untold' $$;"
    script = (
        "const which = (each) => goingOn + 1; function of() {} // gone\nconst url = 'http://x';"
    )

    assert set(names_against_the_style(tree)) == {"Told", "_toldOnce", "gone_by", "_of"}
    assert set(script_names_against_the_style(sql, ".sql")) == {"look", "told", "gone_by"}
    assert set(script_names_against_the_style(script, ".js")) == {"which", "goingOn", "of"}


def test_no_two_classes_have_the_same_name() -> None:
    names = Counter(
        node.name
        for module in MODULES
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.ClassDef)
    )

    assert [name for name, count in names.items() if count > 1] == []
