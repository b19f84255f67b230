"""Add the fixtures that pytest must set up before all other fixtures of a test."""

from __future__ import annotations

from pytest_pgtemplate._settings import Settings, fixture_name


def put_first(fixtures: list[str], settings: Settings) -> None:
    """Insert the fixtures that ``pg_autouse`` and ``pg_bind`` add to a test, in place.

    With ``pg_bind`` the application is imported first, so that an error in it is reported before a
    template is built.
    """
    databases = [fixture_name("pg", each) for each in settings.autouse_databases]
    bindings = [
        fixture_name("_pg_bindings", each)
        for each in settings.bind
        if fixture_name("pg_database", each) in fixtures or fixture_name("pg", each) in databases
    ]
    first = [*bindings, *databases]
    if first:
        fixtures[:] = [*first, *(name for name in fixtures if name not in first)]
