"""Servers that call themselves PostgreSQL, and roles that are not quite superusers."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from support.compatible_servers import compatible_server
from support.projects import TESTS, Project, execute, unique


@pytest.mark.parametrize(
    ("unlearned", "sqlstate"),
    [
        ("file_copy_method", "42704"),  # a query for facts of the server
        ("CONNECTION LIMIT", "0A000"),  # CREATE DATABASE, of any kind
        (' TEMPLATE "', "42601"),  # CREATE DATABASE .. TEMPLATE, once there is a template
    ],
)
def test_a_server_that_lacks_features_is_refused(
    system_project: Project, system_url: URL, unlearned: str, sqlstate: str
) -> None:
    system_project.write("test_it.py", TESTS)
    with compatible_server(system_url, {unlearned: sqlstate}) as stand_in:
        result = system_project.run("--pg-url", str(_urls.render(stand_in.url)))
    result.assert_outcomes(passed=1, errors=1, skipped=2)
    result.stdout.fnmatch_lines(
        [f"*lacks a feature of PostgreSQL *({sqlstate})", "*HINT: *CREATE DATABASE .. TEMPLATE*"]
    )
    assert "Traceback" not in str(result.stdout)


def test_the_admin_role_of_a_managed_server_will_do(
    system_project: Project, system_url: URL
) -> None:
    """As customers get it: no superuser, but a member of a role that is much like one."""
    system_project.write("test_it.py", TESTS)
    provider, customer = unique("rds_superuser"), unique("admin")
    execute(
        system_url,
        f"CREATE ROLE {provider}",
        f"GRANT pg_monitor, pg_signal_backend, pg_read_all_data TO {provider} WITH ADMIN OPTION",
        f"CREATE ROLE {customer} LOGIN CREATEDB CREATEROLE PASSWORD 'secret' IN ROLE {provider}",
    )
    try:
        url = str(_urls.render(system_url.set(username=customer)))
        for built in ("migrated", "reused"):
            result = system_project.run("--pg-url", url)
            result.assert_outcomes(passed=4)
            result.stdout.fnmatch_lines(
                [f"pgtemplate: template *{built}*", "  the role may not create event triggers:*"]
            )
    finally:
        system_project.clean()
        execute(system_url, f"DROP ROLE {customer}", f"DROP ROLE {provider}")
