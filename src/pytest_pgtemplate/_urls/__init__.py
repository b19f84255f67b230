"""Server URLs and database names. Text only, except for the probe ``is_answering``.

``drivers`` parses URLs and translates them for each driver, ``server_address`` parses them without
SQLAlchemy, ``url_templates`` renders the templates of ``pg_env``, ``database_names`` makes and
recognises names, and ``redaction`` hides passwords.
"""

from pytest_pgtemplate._urls.drivers import (
    URL_SPELLING,
    async_url,
    asyncpg_dsn,
    connect_args,
    driver_name,
    dsn,
    dsn_without_passwords,
    for_driver,
    installed_sync_drivers,
    libpq_query,
    parse,
    render,
    sync_url,
)

__all__ = [
    "URL_SPELLING",
    "async_url",
    "asyncpg_dsn",
    "connect_args",
    "database_names",
    "driver_name",
    "dsn",
    "dsn_without_passwords",
    "for_driver",
    "installed_sync_drivers",
    "libpq_query",
    "libpq_variables",
    "parse",
    "redaction",
    "render",
    "server_address",
    "sync_url",
    "url_templates",
]
