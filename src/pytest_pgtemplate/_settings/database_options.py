"""Which databases a run has, and the server URLs of each of them."""

from __future__ import annotations

import os
import re

import pytest

from pytest_pgtemplate._settings import options, worker_input

ENV_URL = "PGTEMPLATE_URL"


def further_databases(config: pytest.Config) -> list[str]:
    """Return the names in ``pg_databases``. Raises UsageError for an invalid name."""
    names: list[str] = options.from_ini(config, "pg_databases") or []
    for name in names:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
            raise pytest.UsageError(
                f"pg_databases: {name!r} is not a valid name; examples: orders, orders_2"
            )
        if names.count(name) > 1:
            raise pytest.UsageError(f"pg_databases: {name} appears twice")
    return names


def add_options(config: pytest.Config, parser: pytest.Parser) -> None:
    """Declare ``pg_url_<name>`` for each database in ``pg_databases``."""
    options.add_databases(parser, further_databases(config))


def servers(config: pytest.Config) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the URLs by database, and the unreachable URLs.

    The name of the main database is ``""``. A database without URLs uses the embedded server. Its
    connections must not read the variables of libpq, so they become a part of the other URLs.
    """
    received = worker_input.read_worker_input(config).urls
    urls: dict[str, tuple[str, ...]] = {}
    unreachable: list[str] = []
    for name in ("", *further_databases(config)):
        configured = tuple(received[name]) if name in received else _urls(config, name)
        down = _unreachable(config, configured)
        urls[name] = tuple(url for url in configured if url not in down)
        unreachable += (url for url in down if url not in unreachable)
    if any(urls.values()) and not all(urls.values()):
        from pytest_pgtemplate._urls import libpq_variables

        urls = {name: tuple(map(libpq_variables.add_to_url, each)) for name, each in urls.items()}
    return urls, tuple(unreachable)


def _urls(config: pytest.Config, database: str) -> tuple[str, ...]:
    """Return the URLs of a database. Without its own, a further database uses the main URLs."""
    option = options.option_name("pg_url", database)
    value: str | None = options.from_command_line(config, option)
    if value is None:
        value = urls_in_environment(database)
    if value is None:
        value = options.from_ini(config, option)
    if value is None and database:
        return _urls(config, "")
    if not value:
        return ()
    from pytest_pgtemplate._urls import URL_SPELLING, server_address

    urls = tuple(value.split())
    try:
        for url in urls:
            server_address.parse(url)
    except ValueError as error:
        raise pytest.UsageError(f"{option} is {error}: {URL_SPELLING}") from None
    return urls


def _unreachable(config: pytest.Config, urls: tuple[str, ...]) -> tuple[str, ...]:
    """Return the servers that do not answer, if there are several and at least one answers.

    If none answers, the first database test reports the error. Only the controller probes; workers
    receive the URLs of the servers that answered.
    """
    if len(urls) < 2 or worker_input.read_worker_input(config).worker != "main":
        return ()
    from pytest_pgtemplate._urls import server_address

    answers = config.stash.setdefault(_ANSWERS, {})
    for url in {*urls} - answers.keys():
        answers[url] = server_address.is_answering(server_address.parse(url))
    down = tuple(url for url in urls if not answers[url])
    return down if len(down) < len(urls) else ()


_ANSWERS = pytest.StashKey[dict[str, bool]]()


def sources(config: pytest.Config) -> dict[str, str]:
    """Return the source of each option that is set: a flag, a variable or a file name."""
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
    """Return the URLs in the environment. Empty counts as unset: CI may expand a missing secret."""
    return os.environ.get(_variable(database), "").strip() or None


def _variable(database: str) -> str:
    return f"{ENV_URL}_{database.upper()}" if database else ENV_URL
