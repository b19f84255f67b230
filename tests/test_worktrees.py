"""Several checkouts of one project: equal files share a template, different ones do not meet.

On a server in PGTEMPLATE_URL, and on the embedded server of this user, which each run joins.
"""

from __future__ import annotations

import subprocess

import pytest

from support.own_server import use_own_server
from support.projects import COUNTED, ITEM, TESTS, Project


def checkout(project: Project, folder: str, *, name: str) -> Project:
    """A checkout in ``folder``, with pg_name ``name``."""
    (project.root / folder).mkdir()
    copy = Project(project.root / folder, project.pytester, project.server, name, project.log)
    copy.alembic()
    copy.ini()
    copy.revision("one", ITEM + COUNTED)
    copy.write("test_it.py", TESTS)
    return copy


def run_at_once(*checkouts: Project) -> None:
    processes = [
        subprocess.Popen(each.command("-n", "2"), cwd=each.root, stdout=subprocess.PIPE, text=True)
        for each in checkouts
    ]
    for process in processes:
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output


@pytest.fixture(params=["given", pytest.param("embedded", marks=pytest.mark.full)])
def main_checkout(
    request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> Project:
    if request.param == "embedded":
        use_own_server(monkeypatch)
    return checkout(project, "main", name=project.prefix)


def test_checkouts_with_equal_files_and_the_same_pg_name_share_a_template(
    project: Project, main_checkout: Project
) -> None:
    second = checkout(project, "feature", name=project.prefix)

    run_at_once(main_checkout, second)

    assert project.migrations() == 1
    assert len(templates(project)) == 1


def test_checkouts_of_different_revisions_run_at_once(
    project: Project, main_checkout: Project
) -> None:
    second = checkout(project, "feature", name=project.prefix)
    second.revision("two", 'op.add_column("item", sa.Column("price", sa.Integer))')

    run_at_once(main_checkout, second)

    assert len(templates(project)) == 2


def templates(project: Project) -> list[str]:
    """Of what the runs leave behind nothing but templates."""
    found = project.databases()
    assert [name for name in found if "_tpl_" not in name] == []
    return found
