"""``--pg-stats`` shows why a template was built: the changes since the nearest template."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_pgtemplate import _embedded
from support.own_server import use_own_server
from support.projects import ITEM, TESTS, Project


@pytest.fixture
def shop(project: Project) -> Project:
    project.alembic()
    project.revision("one", ITEM)
    project.revision("two")
    project.write("test_it.py", TESTS)
    built(project)
    return project


def built(shop: Project, *arguments: str) -> str:
    """Why, and since which template, with the name of that taken out."""
    result = shop.run("--pg-stats", *arguments)
    result.assert_outcomes(passed=4)
    found = re.search("^  reason for the build: (.*)$", result.stdout.str(), re.MULTILINE)
    return re.sub(rf" since {shop.prefix}_tpl_\w{{12}}$", "", found[1]) if found else ""


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_changed_and_new_files_are_named(shop: Project) -> None:
    append(shop.root / "migrations/versions/one.py", "# changed")
    assert built(shop) == "changed: migrations/versions/one.py"
    shop.revision("three", down="two")
    assert built(shop) == "new: migrations/versions/three.py"
    append(shop.root / "alembic.ini", "# changed")
    (shop.root / "migrations/versions/three.py").unlink()
    append(shop.root / "migrations/env.py", "# changed")
    reason = "changed: alembic.ini, migrations/env.py"
    assert built(shop) == reason  # the nearest never had a third revision
    assert built(shop) == ""


def test_the_reason_names_a_template_that_was_removed(shop: Project) -> None:
    for name in shop.databases() + shop.spares():
        shop.server.drop(name)
    assert built(shop) == "the same template is no longer on this server"
    assert built(shop, "--pg-rebuild") == "--pg-rebuild"


@pytest.mark.full
def test_seeds_and_other_files_are_named(shop: Project) -> None:
    seed = """
        import pytest

        def fill(url):
            pass

        @pytest.fixture(scope="session")
        def pg_seed():
            return fill
        """
    shop.write("conftest.py", seed)
    assert built(shop) == "new: pg_seed"
    shop.write("conftest.py", seed.replace("pass", "return"))
    assert built(shop) == "changed: pg_seed"
    shop.write("rates.csv", "1")
    shop.ini(pg_fingerprint_files="rates.csv")
    assert built(shop) == "new: rates.csv"


def test_the_extensions_of_another_wheel_are_named(
    shop: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wheel beside that of the embedded server may bring extensions."""
    use_own_server(monkeypatch)
    built(shop)
    monkeypatch.setattr(_embedded, "extensions_fingerprint", lambda *_: b"pgcrypto of a wheel")

    assert built(shop) == "changed: extensions of the embedded server"


def test_the_report_page_shows_the_reason_too(shop: Project) -> None:
    append(shop.root / "migrations/versions/two.py", "# changed")
    shop.run("--pg-report=page.html").assert_outcomes(passed=4)
    assert (
        '"why":"changed: migrations/versions/two.py since' in (shop.root / "page.html").read_text()
    )
