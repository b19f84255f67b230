"""Revision files may be written in any way that Alembic accepts: it is Alembic that reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_pgtemplate import Alembic
from pytest_pgtemplate.errors import MigrationError
from support.programs import load_program
from support.projects import COUNTED, INI, ITEM, Project

# Each file is a revision that follows the one before it, written in another way.
FIRST = load_program("revisions/first.py")
COMPUTED = load_program("revisions/computed.py")
CONDITIONAL = load_program("revisions/conditional.py")
SHARED_STEPS = load_program("revisions/shared_steps.py")
ANNOTATED = load_program("revisions/annotated.py")
BY_LABEL = load_program("revisions/by_label.py")
ODD = {
    "a_tuple": FIRST,
    "b_computed": COMPUTED,
    "c_conditional": CONDITIONAL,
    "d_lambdas": SHARED_STEPS,
    "e_annotated": ANNOTATED,
}  # fmt: skip
TEST = """
from sqlalchemy import text

def test_rows(pg_sync_session):
    assert pg_sync_session.scalars(text("SELECT name FROM item")).all() == ["reference"]
"""


@pytest.fixture
def odd(project: Project) -> Project:
    """Revisions whose ids and order are known only after importing them."""
    project.alembic()
    for name, source in ODD.items():
        project.write(f"migrations/versions/{name}.py", source)
    project.write("test_it.py", TEST)
    return project


def test_the_check_accepts_what_alembic_accepts(odd: Project) -> None:
    result = odd.run("--pg-check")
    result.assert_outcomes(passed=len(ODD) + 3, skipped=1)  # no models


def test_a_revision_on_top_is_the_only_one_to_run(odd: Project) -> None:
    odd.run().assert_outcomes(passed=1)
    odd.write("migrations/versions/f_label.py", BY_LABEL)
    result = odd.run()
    result.assert_outcomes(passed=1)
    assert "migrated 1 of 6 revisions" in result.stdout.str()
    assert odd.migrations() == 1


@pytest.mark.parametrize("recursive", [False, True])
def test_version_locations_are_those_of_alembic(project: Project, recursive: bool) -> None:
    """Also a directory outside of the environment, and folders below it if they are asked for."""
    ini = f"{INI}version_locations = %(here)s/core:%(here)s/shop\n".replace("= os", "= :")
    ini += "recursive_version_locations = true\n" if recursive else ""
    project.alembic(ini=ini)
    inner = "/2026/05" if recursive else ""
    project.revision("one", ITEM + COUNTED, folder=f"core{inner}")
    project.revision("two", folder="shop")
    project.write("test_it.py", TEST)
    project.run().assert_outcomes(passed=1)
    project.revision("three", folder=f"shop{inner}")
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "migrated 1 of 3 revisions" in result.stdout.str()


# What Alembic reports, and when the plugin asks it


def test_what_alembic_reports(odd: Project, tmp_path: Path) -> None:
    """Names, order and needs, where each downgrade begins, and which of them refuses."""
    odd.write("migrations/versions/f_label.py", BY_LABEL)
    odd.revision("g", undo="raise NotImplementedError", down="f", needs="b")
    odd.revision("h", down="a")
    odd.revision("m", down=("g", "h"), undo="pass")
    scripts = Alembic(odd.root / "alembic.ini").scripts(tmp_path, 60)
    found = {each.name: each for each in scripts}
    assert {name: each.needs for name, each in found.items()} == {
        "a": set(), "b": {"a"}, "c": {"b"}, "d": {"c"}, "e": {"d"}, "f": {"e"}, "g": {"f", "b"},
        "h": {"a"}, "m": {"g", "h"},
    }  # fmt: skip
    assert found["g"].down_revisions == {"f"}
    assert [name for name, each in found.items() if each.irreversible] == ["g"]
    lines = {name: each.downgrade for name, each in found.items()}
    assert (lines["a"], lines["d"], lines["h"]) == (14, 13, None)
    for number, each in enumerate(scripts):
        assert each.needs <= {before.name for before in scripts[:number]}


def test_alembic_is_asked_once(odd: Project, tmp_path: Path) -> None:
    """The answer is kept until a file changes; a revision records its imports."""
    alembic = Alembic(odd.root / "alembic.ini")
    note = odd.root / "imported"
    odd.revision("f", down="e")
    file = odd.root / "migrations/versions/f.py"
    file.write_text(file.read_text() + f"open({str(note)!r}, 'a').write('x')\n")
    first = alembic.scripts(tmp_path, 60)
    assert alembic.scripts(tmp_path, 60) == first
    assert note.read_text() == "x"
    odd.revision("g", down="f")
    assert [each.name for each in alembic.scripts(tmp_path, 60)][-2:] == ["f", "g"]
    assert note.read_text() == "xx"


def test_a_build_asks_by_the_way_and_a_warm_run_imports_nothing(odd: Project) -> None:
    """The first build needs no answer before it migrates: no process but that of the migrations."""
    note = odd.root / "imported"
    odd.revision("f", down="e")
    file = odd.root / "migrations/versions/f.py"
    file.write_text(file.read_text() + f"open({str(note)!r}, 'a').write('x')\n")
    odd.run().assert_outcomes(passed=1)
    assert note.read_text() == "x"
    odd.run("--pg-check", "-k", "heads").assert_outcomes(passed=1, deselected=9)
    odd.run().assert_outcomes(passed=1)
    assert note.read_text() == "x"


def test_without_a_cache_alembic_is_asked_each_time(odd: Project, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    scripts = Alembic(odd.root / "alembic.ini").scripts(blocked / "cache", 60)
    assert [each.name for each in scripts] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("revision = 'x'\ndown_revision = 'missing'", "x.py needs revision 'missing'"),
        ("revision = 'x'\ndown_revision = None\ndepends_on = 'no_label'", "x.py needs revision"),
        ("revision = 'a'\ndown_revision = None", "x.py: revision 'a' is also in "),
        ("revision = 'x'\ndown_revision = 'x'", "(x)"),
        ("revision = 'x'\ndown_revision = (", "x.py:2: "),
        ("down_revision = 'a'", "x.py"),
        ("revision = make()", "x.py:1: NameError: "),
        ("from no_such_module import revision", "x.py:1: ModuleNotFoundError: "),
    ],
)
def test_a_broken_lineage_names_the_file(
    odd: Project, tmp_path: Path, source: str, message: str
) -> None:
    odd.write("migrations/versions/x.py", source)
    alembic = Alembic(odd.root / "alembic.ini")
    with pytest.raises(MigrationError, match="the lineage is broken") as caught:
        alembic.scripts(tmp_path, 60)
    assert message in caught.value.message
    assert alembic.lineage(tmp_path, 60) is None
    odd.write("migrations/versions/x.py", "revision = 'x'\ndown_revision = 'e'")
    assert len(alembic.scripts(tmp_path, 60)) == 6


def test_a_cycle_names_its_files(odd: Project, tmp_path: Path) -> None:
    odd.revision("x", down="y")
    odd.revision("y", down="x")
    with pytest.raises(MigrationError) as caught:
        Alembic(odd.root / "alembic.ini").scripts(tmp_path, 60)
    assert all(f"{name}.py" in caught.value.message for name in "xy")
