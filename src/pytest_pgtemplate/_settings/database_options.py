"""Which databases a run may have, and on which servers each of them is."""

from __future__ import annotations

import os
import re

import pytest

from pytest_pgtemplate._settings import options, worker_input

ENV_URL = "PGTEMPLATE_URL"


def further_databases(config: pytest.Config) -> list[str]:
    """The further ones, of ``pg_databases``."""
    found: list[str] = options.from_ini(config, "pg_databases") or []
    for name in found:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
            raise pytest.UsageError(f"pg_databases: {name!r} is no name like orders or orders_2")
        if found.count(name) > 1:
            raise pytest.UsageError(f"pg_databases: {name} is there twice")
    return found


def add_options(config: pytest.Config, parser: pytest.Parser) -> None:
    """Let ``pg_url_orders`` be an option where ``orders`` is in ``pg_databases``."""
    options.add_databases(parser, further_databases(config))


def servers(config: pytest.Config) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The URLs of each database, by its name, and those that do not answer.

    None: the embedded server. The main database has no name.
    """
    told = worker_input.read_worker_input(config).urls
    urls: dict[str, tuple[str, ...]] = {}
    unreachable: list[str] = []
    for name in ("", *further_databases(config)):
        given = tuple(told[name]) if name in told else _urls(config, name)
        down = _unreachable(config, given)
        urls[name] = tuple(url for url in given if url not in down)
        unreachable += (url for url in down if url not in unreachable)
    return urls, tuple(unreachable)


def _urls(config: pytest.Config, database: str) -> tuple[str, ...]:
    """Those of a further database are the main one's, unless it has its own."""
    option = options.option_name("pg_url", database)
    given: str | None = options.from_command_line(config, option)
    if given is None:
        given = urls_in_environment(database)
    if given is None:
        given = options.from_ini(config, option)
    if given is None and database:
        return _urls(config, "")
    if not given:
        return ()
    from pytest_pgtemplate._urls import server_address

    found = tuple(given.split())
    try:
        for url in found:
            server_address.parse(url)
    except ValueError as error:
        raise pytest.UsageError(
            f"{option} is {error}: write it as postgresql+asyncpg://user:password@host:5432/postgres"
        ) from None
    return found


def _unreachable(config: pytest.Config, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Which servers of several do not answer; if none does, that is for a test to tell.

    The controller asks, and the workers know only those that did.
    """
    if len(urls) < 2 or worker_input.read_worker_input(config).worker != "main":
        return ()
    from pytest_pgtemplate._urls import server_address

    asked = config.stash.setdefault(_ANSWERS, {})
    for url in {*urls} - asked.keys():
        asked[url] = server_address.is_answering(server_address.parse(url))
    found = tuple(url for url in urls if not asked[url])
    return found if len(found) < len(urls) else ()


_ANSWERS = pytest.StashKey[dict[str, bool]]()


def sources(config: pytest.Config) -> dict[str, str]:
    """Where each option that is set has its value from."""
    found = options.sources(config, further_databases(config))
    url_options = {
        name: options.option_name("pg_url", name) for name in ("", *further_databases(config))
    }
    variables = {
        option: _variable(name)
        for name, option in url_options.items()
        if urls_in_environment(name) is not None
        and options.from_command_line(config, option) is None
    }
    return variables | {name: found[name] for name in found if name not in variables}


def urls_in_environment(database: str) -> str | None:
    """The URLs that the environment names. An empty value is none: CI sets what it has not."""
    return os.environ.get(_variable(database), "").strip() or None


def _variable(database: str) -> str:
    return f"{ENV_URL}_{database.upper()}" if database else ENV_URL
