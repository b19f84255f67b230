"""What runs the project: workflows, hooks, forms, and what a release has to say of itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_pgtemplate._server.facts import NEWEST, OLDEST

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
SCRIPT = GITHUB / "release_notes.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKFLOWS = sorted(GITHUB.glob("workflows/*.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def commands(workflow: Path) -> Iterator[str]:
    """Every command of a workflow, with each value of its matrix."""
    for job in read(workflow)["jobs"].values():
        matrix = job.get("strategy", {}).get("matrix", {})
        for step in job.get("steps", []):  # none: it calls another workflow
            run = step.get("run", "")
            keys = re.findall(r"\$\{\{ matrix\.(\w+) \}\}", run)
            values = matrix[keys[0]] if keys else [""]
            yield from (re.sub(r"\$\{\{ matrix\.\w+ \}\}", str(value), run) for value in values)


def test_workflows_run_what_there_is() -> None:
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini", "utf-8")
    run = {command for workflow in WORKFLOWS for command in commands(workflow)}
    wanted = {found[1] for command in run if (found := re.match(r"tox run -e (\S+)$", command))}

    assert {"py", "docs", "lint", "package"} <= wanted
    assert wanted <= {"py"} | {name.partition(":")[2] for name in tox if ":" in name}
    for script in re.findall(r"python (\S+\.py)", "\n".join(run)):
        assert (ROOT / script).is_file()


def test_every_python_and_every_postgresql_that_is_promised_is_tested() -> None:
    jobs = read(GITHUB / "workflows" / "tests.yml")["jobs"]
    promised = [
        found[1]
        for line in PROJECT["project"]["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))
    ]

    assert jobs["embedded"]["strategy"]["matrix"]["python"] == promised
    versions = [str(major) for major in range(OLDEST, NEWEST + 1)]
    assert jobs["server"]["strategy"]["matrix"]["postgres"] == versions


def test_the_long_form_runs_every_night_and_before_a_release() -> None:
    full = read(GITHUB / "workflows" / "full.yml")
    release = read(GITHUB / "workflows" / "release.yml")["jobs"]

    assert {
        *("full", "full-py312", "full-py313", "lowest", "latest"),
        *("pg14", "pg16", "pg17", "wheels", "chaos", "faults", "property"),
    } == set(full["jobs"]["full"]["strategy"]["matrix"]["env"])
    assert "schedule" in full[True]  # YAML 1.1 reads "on" as a truth value
    assert release["full"] == {"uses": "./.github/workflows/full.yml"}
    assert release["build"]["needs"] == "full"


def test_only_the_job_that_publishes_may_write() -> None:
    for workflow in map(read, WORKFLOWS):
        assert workflow["permissions"] == {"contents": "read"}
        may = {name for name, job in workflow["jobs"].items() if "permissions" in job}
        assert may <= {"publish"}


def test_hooks_are_the_commands_that_a_change_has_to_pass() -> None:
    [repository] = read(ROOT / ".pre-commit-config.yaml")["repos"]
    script = (ROOT / "run").read_text("utf-8")

    for hook in repository["hooks"]:
        assert f"step {hook['entry'].partition(' --')[0]}" in script


@pytest.mark.parametrize(
    "form", sorted(GITHUB.glob("ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.stem
)
def test_a_form_asks_for_what_is_needed(form: Path) -> None:
    content = read(form)

    assert content.keys() == {"name", "description", "labels", "body"}
    for part in content["body"]:
        assert part["validations"]["required"]
        assert {"id", "type"} < part.keys()
        assert part["attributes"]["label"]


CHANGELOG = """# Changelog

## [Unreleased]
{unreleased}
## [1.2.0]{date}

### Added

{changes}
## [1.1.0] - 2026-01-01

- Older.
"""
READY = {"unreleased": "", "date": " - 2026-02-03", "changes": "- A thing.\n"}


def release(
    directory: Path, version: str = "1.2.0", **changelog: str
) -> subprocess.CompletedProcess[str]:
    (directory / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (directory / "CHANGELOG.md").write_text(CHANGELOG.format(**{**READY, **changelog}))
    return subprocess.run(
        [sys.executable, str(SCRIPT), version],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_release_has_the_notes_of_its_version(tmp_path: Path) -> None:
    done = release(tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "### Added\n\n- A thing.\n", "")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": "1.3.0"}, "pyproject.toml says version 1.2.0"),
        ({"unreleased": "\n- Another.\n"}, "[Unreleased]"),
        ({"date": ""}, "needs the day"),
        ({"date": " - soon"}, "needs the day"),
        ({"changes": ""}, "names no change"),
    ],
    ids=["version", "unreleased", "undated", "no date", "empty"],
)
def test_what_does_not_fit_together_is_not_released(
    tmp_path: Path, wrong: dict[str, str], message: str
) -> None:
    done = release(tmp_path, **wrong)

    assert done.returncode == 1
    assert message in done.stderr


LINKS = GITHUB / "absolute_links.py"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)]+)\)")
REPOSITORY = "https://example.org/owner/name"


def prepare(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script that the release workflow runs, in a directory that looks like the root."""
    return subprocess.run(
        [sys.executable, str(LINKS), *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The root of this repository: links to its files, and copies of those that are written."""
    copied = ("README.md", "CHANGELOG.md")
    for path in ROOT.iterdir():
        if path.name not in (*copied, "pyproject.toml"):
            (tmp_path / path.name).symlink_to(path)
    for name in copied:
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project.urls]\nSource = "https://repository.invalid"\n'
        'Issues = "https://repository.invalid/issues"\n'
    )
    return tmp_path


def test_the_release_workflow_prepares_the_files_before_it_builds_them() -> None:
    run = list(commands(GITHUB / "workflows" / "release.yml"))
    [step] = [command for command in run if LINKS.name in command]

    [notes] = [command for command in run if SCRIPT.name in command]
    assert run.index(step) < run.index(notes)
    assert run.index(step) < run.index("python -m build")


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_every_link_and_image_of_a_released_page_is_absolute(checkout: Path, page: str) -> None:
    done = prepare(checkout, REPOSITORY, "v1.2.3")

    assert (done.returncode, done.stderr) == (0, "")
    links = LINK.findall((checkout / page).read_text("utf-8"))
    assert links
    assert not [link for link in links if not link.startswith("https://")]


@pytest.mark.parametrize(
    ("link", "released"),
    [
        ("[a](docs/x.md#y)", f"[a]({REPOSITORY}/blob/v1.2.3/docs/x.md#y)"),
        ("![a](docs/x.md)", f"![a]({REPOSITORY}/raw/v1.2.3/docs/x.md)"),
        ("[a](docs)", f"[a]({REPOSITORY}/tree/v1.2.3/docs)"),
        ("[a](https://example.com/b)", "[a](https://example.com/b)"),
        ("[a](#section)", "[a](#section)"),
    ],
    ids=["file", "image", "directory", "absolute", "section"],
)
def test_a_relative_link_is_released_as_one_into_the_tag(
    checkout: Path, link: str, released: str
) -> None:
    (checkout / "docs").unlink()
    (checkout / "docs").mkdir()
    (checkout / "docs" / "x.md").touch()
    (checkout / "README.md").write_text(link)
    (checkout / "CHANGELOG.md").write_text("")

    assert prepare(checkout, REPOSITORY, "v1.2.3").returncode == 0
    assert (checkout / "README.md").read_text() == released


def test_the_released_project_has_the_address_of_its_repository(checkout: Path) -> None:
    prepare(checkout, REPOSITORY, "v1.2.3")

    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["urls"] == {"Source": REPOSITORY, "Issues": f"{REPOSITORY}/issues"}


@pytest.mark.parametrize(
    ("name", "text", "repository", "message"),
    [
        ("README.md", "[a](missing.md)", REPOSITORY, "missing.md, which does not exist"),
        ("pyproject.toml", "[project]", REPOSITORY, "does not contain https://repository.invalid"),
        ("README.md", "", "/owner/name", "is not the address of a repository"),
    ],
    ids=["missing file", "no placeholder", "no address"],
)
def test_files_that_cannot_be_prepared_are_not_released(
    checkout: Path, name: str, text: str, repository: str, message: str
) -> None:
    (checkout / name).write_text(text)
    done = prepare(checkout, repository, "v1.2.3")

    assert done.returncode == 1
    assert message in done.stderr
    assert (checkout / name).read_text() == text


def test_all_addresses_of_the_project_are_in_one_repository() -> None:
    urls = PROJECT["project"]["urls"]

    assert {url.startswith(urls["Source"]) for url in urls.values()} == {True}
