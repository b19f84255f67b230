"""README and docs hold: their code runs, their tables are complete, their links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pytest_pgtemplate._server import Server
from support.projects import unique

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pytest_pgtemplate"
HOME = Path.home()  # before pytester sets another: the runs here share the user's server

DBMATE = f"""\
#!{sys.executable}
import os, pathlib, psycopg

with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for path in pathlib.Path("db/migrations").glob("*.sql"):
        connection.execute(path.read_text())
"""

RUN = {"ini", "python", "sql", "toml"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block. ``name`` is the file that its first line names, if it does."""

    language: str
    text: str

    @property
    def name(self) -> str:
        found = re.match(r"(?:#|--) (\S+\.\w+)\n", self.text)
        return found[1] if found else ""

    @property
    def excerpt(self) -> bool:
        """Whether it shows a part of a file of this repository."""
        return self.name.startswith(("examples/", "benchmarks/"))

    @property
    def runs(self) -> bool:
        return bool(self.name) and self.language in RUN and not self.excerpt


@dataclass(frozen=True)
class Section:
    """What stands between a heading and the next one."""

    page: Path
    title: str
    text: str

    @property
    def blocks(self) -> list[Block]:
        return [Block(*found) for found in FENCE.findall(self.text)]

    def __str__(self) -> str:
        return f"{self.page.stem}: {self.title}"


def sections(page: Path) -> Iterator[Section]:
    text = page.read_text("utf-8")
    code = [found.span() for found in FENCE.finditer(text)]
    headings = [
        found
        for found in HEADING.finditer(text)
        if not any(begin < found.start() < end for begin, end in code)
    ]
    ends = [found.start() for found in headings[1:]] + [len(text)]
    for found, end in zip(headings, ends, strict=True):
        yield Section(page, found[1], text[found.end() : end])


SECTIONS = [section for page in PAGES for section in sections(page)]


def titled(page: str, title: str) -> Section:
    [found] = [each for each in SECTIONS if (each.page.stem, each.title) == (page, title)]
    return found


QUICKSTART = titled("README", "Quickstart").blocks


def variants() -> Iterator[tuple[str, list[Block]]]:
    """Every recipe; one that shows several files of the same name is as many."""
    for section in SECTIONS:
        if section.title == "Quickstart":
            continue
        files = [block for block in section.blocks if block.runs]
        names = [block.name for block in files]
        alternatives = [block for block in files if names.count(block.name) > 1]
        common = [block for block in files if block not in alternatives]
        if alternatives:
            yield from ((str(section), [*common, one]) for one in alternatives)
        elif common:
            yield str(section), common


VARIANTS = list(variants())
OFTEN = ("README", "getting-started", "applications")  # pages that the short form runs
SELDOM = "applications: A Config made in code"  # what the short form does not run of them


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty directory, in a shell that has the programs of this virtual environment."""
    monkeypatch.setenv("HOME", str(HOME))
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "2")
    bin_directory = pytester.mkdir("bin")
    path = [bin_directory, Path(sys.executable).parent, os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, path)))
    dbmate = bin_directory / "dbmate"
    dbmate.write_text(DBMATE)
    dbmate.chmod(0o755)
    return pytester


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Quickstart's command ``alembic init`` writes."""
    [command] = [block.text for block in QUICKSTART if block.text.startswith("alembic ")]
    directory = tmp_path_factory.mktemp("alembic")
    program = [sys.executable, "-m", *shlex.split(command)]
    subprocess.run(program, cwd=directory, check=True, capture_output=True, timeout=60)
    return directory


@pytest.fixture(scope="module")
def prefix(server: Server) -> Iterator[str]:
    """The recipes share the templates of equal migrations."""
    name = unique("readme")
    yield name
    for database in server.databases():
        if database.name.startswith(f"{name}_"):
            server.drop(database.name)


def lay_out(project: pytest.Pytester, environment: Path, code: list[Block]) -> None:
    """Write the files; a pyproject.toml that is silent about asyncio adds to the one before it."""
    for block in code:
        if block.name:
            path = project.path / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            known = path.read_text("utf-8") if path.exists() else ""
            more = block.text.partition("[tool.pytest.ini_options]\n")[2]
            adds = known and more and "asyncio_mode" not in more
            path.write_text(known + more if adds else block.text, "utf-8")
        elif block.text.startswith("alembic "):
            shutil.copytree(environment, project.path, dirs_exist_ok=True)


def passes(project: pytest.Pytester, result: pytest.RunResult) -> pytest.RunResult:
    """Every test of the project has two sets of parameters, and all pass."""
    result.assert_outcomes(passed=2 * len(list(project.path.glob("tests/test_*.py"))))
    return result


def test_the_quickstart_runs_as_it_stands(project: pytest.Pytester, environment: Path) -> None:
    lay_out(project, environment, QUICKSTART)
    commands = [block.text for block in QUICKSTART if block.text.startswith("pytest ")]

    assert len(commands) == 1
    passes(project, project.run("sh", "-ec", commands[0])).stdout.fnmatch_lines("2 workers *")


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(
            recipe,
            id=section,
            marks=[] if section.startswith(OFTEN) and section != SELDOM else pytest.mark.full,
        )
        for section, recipe in VARIANTS
    ],
)
def test_a_recipe_runs_on_top_of_the_quickstart(
    project: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    environment: Path,
    prefix: str,
    recipe: list[Block],
) -> None:
    own_schema = any(
        re.search(r"def pg_migrations\(.*return (Metadata|SqlFiles|Command)\(", b.text, re.DOTALL)
        for b in recipe
    )
    own_tests = any(block.name.startswith("tests/test_") for block in recipe)
    base = [
        block
        for block in QUICKSTART
        if not (own_schema and "alembic" in block.text)
        and not (own_tests and block.name.startswith("tests/"))
    ]

    lay_out(project, environment, base + recipe)
    if any(block.language == "ini" for block in recipe):  # it stands in for the one in the root
        (project.path / "alembic.ini").unlink()
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} --pg-name={prefix}")

    passes(project, project.runpytest_subprocess())


def test_every_block_can_be_read() -> None:
    readers: dict[str, Callable[[str], object]] = {
        "python": ast.parse,
        "toml": tomllib.loads,
        "yaml": yaml.safe_load,
    }
    for section in SECTIONS:
        for block in section.blocks:
            if block.language in readers:
                readers[block.language](block.text)


def test_an_excerpt_is_what_the_file_says() -> None:
    excerpts = [block for section in SECTIONS for block in section.blocks if block.excerpt]

    assert excerpts
    for block in excerpts:
        assert block.text.partition("\n")[2] in (ROOT / block.name).read_text("utf-8")


def test_a_message_on_the_page_of_troubles_is_one_that_is_shown() -> None:
    shown = [text for module in PACKAGE.rglob("*.py") for text in messages(module)]
    page = ROOT / "docs" / "troubleshooting.md"
    own_messages = page.read_text("utf-8").partition("## Errors of other programs")[0]

    for message in re.findall(r"^### `(.*)`$", own_messages, re.MULTILINE):
        assert any(message in text for text in shown), message


def messages(module: Path) -> Iterator[str]:
    """The strings of a module, with two dots for what is filled in."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else ".." for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_table_of_fixtures_is_complete(pytester: pytest.Pytester) -> None:
    output = pytester.runpytest("--fixtures", "-p", "no:asyncio").stdout.str()

    assert set(re.findall(r"`(pg\w*)`", first_columns("Fixtures", 1))) == set(
        re.findall(r"^(pg\w*)\b.* -- ", output, re.MULTILINE)
    )


def test_the_table_of_options_is_complete(pytester: pytest.Pytester) -> None:
    output = pytester.runpytest("--help", "-p", "no:asyncio").stdout.str()

    assert set(re.findall(r"`([\w-]+)`", first_columns("Options", 2))) == set(
        re.findall(r"^  (pg_\w+|--pg-[\w-]+)\b", output, re.MULTILINE)
    )


def test_the_table_of_commands_is_complete() -> None:
    output = subprocess.run(
        [sys.executable, "-m", "pytest_pgtemplate._cli.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout

    [commands] = re.findall(r"^  \{(.*)\}$", output, re.MULTILINE)
    assert set(
        re.findall(r"`pgtemplate (\w+)", first_columns("Command line: `pgtemplate`", 1))
    ) == set(commands.split(","))


def first_columns(title: str, count: int) -> str:
    rows = re.findall(r"^\| (.*)$", titled("reference", title).text, re.MULTILINE)
    return "\n".join("|".join(row.split("|")[:count]) for row in rows)


def test_the_map_names_every_module() -> None:
    there = {p.name for p in PACKAGE.glob("*.py")}
    there |= {f"{p.parent.name}/" for p in PACKAGE.glob("*/__init__.py")}

    assert (
        set(re.findall(r"\| `([\w./]+)` \*? ?\|", titled("CONTRIBUTING", "Source map").text))
        == there
    )


LINKED = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, and those that keep the link of an older heading working."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"></a>', text))
