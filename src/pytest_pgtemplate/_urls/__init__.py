"""Server URLs and the names of databases: text only, no I/O but one look whether a server answers.

``drivers`` reads a URL and writes it as each driver spells it, ``server_address`` does so without
SQLAlchemy, and ``url_templates`` fills the templates of ``pg_env``. ``database_names`` makes and
recognises names, and ``redaction`` hides passwords.
"""

from pytest_pgtemplate._urls.drivers import (
    async_url,
    asyncpg_dsn,
    connect_args,
    driver_name,
    dsn,
    for_driver,
    parse,
    render,
    sync_url,
    without_password,
)

__all__ = [
    "async_url",
    "asyncpg_dsn",
    "connect_args",
    "database_names",
    "driver_name",
    "dsn",
    "for_driver",
    "parse",
    "redaction",
    "render",
    "server_address",
    "sync_url",
    "url_templates",
    "without_password",
]
