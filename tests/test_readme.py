"""The README holds: its code runs, its tables are complete, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pytest_pgtemplate"
README = (ROOT / "README.md").read_text("utf-8")
HOME = Path.home()  # before pytester sets another: the runs here share the user's server

DBMATE = f"""\
#!{sys.executable}
import os, pathlib, psycopg

with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for path in pathlib.Path("db/migrations").glob("*.sql"):
        connection.execute(path.read_text())
"""


@dataclass(frozen=True)
class Block:
    """A fenced code block. ``name`` is the file that its first line names, if it does."""

    section: str
    language: str
    text: str

    @property
    def name(self) -> str:
        found = re.match(r"(?:#|--) (\S+\.\w+)\n", self.text)
        return found[1] if found else ""

    @property
    def excerpt(self) -> bool:
        """Whether it shows a part of a file of this repository."""
        return self.name.startswith("examples/")


def section(title: str, level: str = "##") -> str:
    return re.split(rf"^{level} ", README.partition(f"\n{level} {title}\n")[2], flags=re.MULTILINE)[
        0
    ]


def blocks(title: str, level: str = "##") -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", section(title, level), re.MULTILINE | re.DOTALL)
    return [Block(title, language, text) for language, text in found]


QUICKSTART = blocks("Quickstart")
RUN = {"python", "sql", "toml"}
RECIPES = re.findall(r"^### (.*)$", section("Recipes"), re.MULTILINE)


def variants() -> Iterator[list[Block]]:
    """Every recipe; one that shows several files of the same name is as many."""
    for title in RECIPES:
        code = blocks(title, "###")
        files = [
            block for block in code if block.name and block.language in RUN and not block.excerpt
        ]
        names = [block.name for block in files]
        alternatives = [block for block in files if names.count(block.name) > 1]
        common = [block for block in files if block not in alternatives]
        if alternatives:
            yield from ([*common, one] for one in alternatives)
        elif common:
            yield common


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


def lay_out(project: pytest.Pytester, code: list[Block]) -> None:
    for block in code:
        if block.name:
            path = project.path / block.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.text.startswith("alembic "):
            assert project.run("sh", "-ec", block.text).ret == 0


def passes(project: pytest.Pytester, command: str) -> pytest.RunResult:
    """Run ``command``; every test of the project has two sets of parameters, and all pass."""
    result = project.run("sh", "-ec", command)
    result.assert_outcomes(passed=2 * len(list(project.path.glob("tests/test_*.py"))))
    return result


def test_the_quickstart_runs_as_it_stands(project: pytest.Pytester) -> None:
    lay_out(project, QUICKSTART)
    commands = [block.text for block in QUICKSTART if block.text.startswith("pytest ")]

    assert len(commands) == 1
    passes(project, commands[0]).stdout.fnmatch_lines("2 workers *")


@pytest.mark.parametrize("recipe", list(variants()), ids=lambda recipe: recipe[-1].section)
def test_a_recipe_runs_on_top_of_the_quickstart(
    project: pytest.Pytester, recipe: list[Block]
) -> None:
    without_alembic = any("pg_migrations" in block.text for block in recipe)
    base = [block for block in QUICKSTART if not (without_alembic and "alembic" in block.text)]

    lay_out(project, base + recipe)

    passes(project, "pytest")


def test_an_excerpt_is_what_the_file_says() -> None:
    excerpts = [b for title in RECIPES for b in blocks(title, "###") if b.excerpt]

    assert excerpts
    for block in excerpts:
        assert block.text.partition("\n")[2] in (ROOT / block.name).read_text("utf-8")


def test_the_table_of_fixtures_is_complete(pytester: pytest.Pytester) -> None:
    told = pytester.runpytest("--fixtures", "-p", "no:asyncio").stdout.str()

    assert set(re.findall(r"`(pg\w*)`", first_columns("Fixtures", 1))) == set(
        re.findall(r"^(pg\w*)\b.* -- ", told, re.MULTILINE)
    )


def test_the_table_of_options_is_complete(pytester: pytest.Pytester) -> None:
    told = pytester.runpytest("--help", "-p", "no:asyncio").stdout.str()

    assert set(re.findall(r"`([\w-]+)`", first_columns("Options", 2))) == set(
        re.findall(r"^  (pg_\w+|--pg-[\w-]+)\b", told, re.MULTILINE)
    )


def test_the_table_of_commands_is_complete() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pytest_pgtemplate.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout

    [commands] = re.findall(r"^  \{(.*)\}$", told, re.MULTILINE)
    assert set(re.findall(r"`pgtemplate (\w+)", first_columns("The command", 1))) == set(
        commands.split(",")
    )


def first_columns(title: str, count: int) -> str:
    rows = re.findall(r"^\| (.*)$", section(title), re.MULTILINE)
    return "\n".join("|".join(row.split("|")[:count]) for row in rows)


def test_the_map_names_every_module() -> None:
    there = {p.name for p in PACKAGE.glob("*.py")}
    there |= {f"{p.parent.name}/" for p in PACKAGE.glob("*/__init__.py")}

    assert set(re.findall(r"\| `([\w./]+)` \|", section("A map of the source"))) == there


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if "://" in link:
            continue
        place, _, anchor = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings}
