"""TLS and ``options`` in the URL apply to every connection; the tests have their own CA."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from pytest_pgtemplate import _urls
from pytest_pgtemplate._embedded import cluster as _embedded_cluster
from pytest_pgtemplate._engines import Engines
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import env_py
from pytest_pgtemplate.errors import ConfigurationError, ServerError
from support.programs import load_program
from support.projects import ASYNC_ENV, ITEM, make_project
from support.servers import private_server, server_directory, system_bindir

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make a CA with")

# Over TCP with TLS alone, and with a certificate of the role that connects.
HBA = """
local all all trust
hostssl all all 127.0.0.1/32 cert
"""
DRIVERS = ["asyncpg", "psycopg", "psycopg2", "pg8000"]
TLS_STATE = """
SELECT ssl, client_dn, current_setting('search_path') FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""


def openssl(directory: Path, *arguments: str) -> None:
    command = ["openssl", *arguments]
    subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=60)


def make_authority(directory: Path, name: str) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    certificate = ["-out", f"{name}.crt", "-keyout", f"{name}.key", "-subj", f"/CN={name}"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]  # of a CA; Python 3.13 demands it
    openssl(directory, "req", "-x509", *key, *certificate, *usage)


def make_certificate(directory: Path, subject: str) -> None:
    """Signed by ``ca``; for the host or the role that it names."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", f"subjectAltName=DNS:{subject}"]
    files = ["-out", f"{subject}.crt", "-keyout", f"{subject}.key", "-subj", f"/CN={subject}"]
    use = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=digitalSignature"]
    openssl(directory, "req", "-x509", *key, *signed, *use, *files)
    openssl(directory, "verify", "-x509_strict", "-CAfile", "ca.crt", f"{subject}.crt")


@pytest.fixture(scope="module")
def files() -> Iterator[Path]:
    with server_directory() as directory:
        directory.chmod(0o755)
        make_authority(directory, "ca")
        make_authority(directory, "stranger")
        make_certificate(directory, "localhost")
        make_certificate(directory, "postgres")
        (directory / "pg_hba.conf").write_text(HBA)
        yield directory


@pytest.fixture(scope="module")
def url(files: Path) -> Iterator[URL]:
    """A server that wants TLS and a certificate, as its URL says it."""
    with private_server(
        system_bindir(),
        ssl="on",
        ssl_ca_file=files / "ca.crt",
        ssl_cert_file=files / "localhost.crt",
        ssl_key_file=servers_own(files / "localhost.key"),
        hba_file=files / "pg_hba.conf",
    ) as through_socket:
        yield through_socket.set(
            host="localhost",
            port=int(str(through_socket.query["port"])),
            query={
                "sslmode": "verify-full",
                "sslrootcert": str(files / "ca.crt"),
                "sslcert": str(files / "postgres.crt"),
                "sslkey": str(files / "postgres.key"),
                "options": "-c search_path=shop,public -c work_mem=5MB",
            },
        )


def servers_own(key: Path) -> Path:
    """The server takes no key that is another user's."""
    user = _embedded_cluster._server_user(os.geteuid())
    if user is not None:
        os.chown(key, user.pw_uid, user.pw_gid)
    return key


def query_tls(url: URL, driver: str, *, twin: bool = False) -> Any:
    """What the server says of a connection of ours. ``twin``: of the async one of a driver."""
    engines = Engines(url.set(drivername=f"postgresql+{driver}"), {})
    if driver == "asyncpg" or twin:

        async def ask() -> Any:
            async with engines.async_engine().engine_for_test().connect() as connection:
                return (await connection.execute(text(TLS_STATE))).one()

        return asyncio.run(ask())
    try:
        with engines.sync_engine().engine_for_test().connect() as connection:
            return connection.execute(text(TLS_STATE)).one()
    finally:
        engines.close()


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_engine_keeps_what_the_url_says(url: URL, driver: str) -> None:
    expected = (True, "/CN=postgres", "shop,public")
    assert tuple(query_tls(url, driver)) == expected
    if driver == "psycopg":
        assert tuple(query_tls(url, driver, twin=True)) == expected


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "127.0.0.1"},
        {"sslrootcert": "stranger.crt"},
        {"sslcert": "stranger.crt", "sslkey": "stranger.key"},
    ],
    ids=["host name", "CA", "client certificate"],
)
def test_no_engine_takes_another_certificate(
    url: URL, files: Path, driver: str, wrong: dict[str, str]
) -> None:
    bad = changed(url, files, **wrong)
    with pytest.raises((DBAPIError, OSError, asyncpg.PostgresError)):
        query_tls(bad, driver)
    gc.collect()  # pg8000 leaves its socket to it, which shall be no other test's warning


def changed(url: URL, files: Path, host: str = "", **query: str) -> URL:
    paths = {name: str(files / value) for name, value in query.items()}
    return url.set(host=host or url.host).update_query_dict(paths)


def test_our_own_connection_does_the_same_and_says_what_is_wrong(url: URL, files: Path) -> None:
    for spelled in (url, _urls.parse(f"{_urls.render(url)}".replace(":", "+asyncpg:", 1))):
        server = Server(spelled, timeout=10)
        assert server.facts.superuser
        assert tuple(server._fetch(TLS_STATE)[0]) == (True, "/CN=postgres", "shop,public")
        server.close()
    for wrong in ({"host": "127.0.0.1"}, {"sslrootcert": "stranger.crt"}):
        with pytest.raises(ServerError) as error:
            Server(changed(url, files, **wrong), timeout=10)
        assert "sslrootcert" in error.value.hint


def test_a_file_that_is_not_there_is_named(
    url: URL, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(files))
    default = url.difference_update_query(["sslrootcert"])
    for wrong, name in (
        (changed(url, files, sslrootcert="none.crt"), "none.crt"),
        (changed(url, files, sslkey="none.key"), "none.key"),
        (default, ".postgresql/root.crt"),
        (default.set(drivername="postgresql+asyncpg"), ".postgresql/root.crt"),
    ):
        with pytest.raises(ServerError) as error:
            Server(wrong, timeout=10)
        assert f" needs {files / name}, which cannot be read" in error.value.message


LIFE = load_program("tls/life.py")


def test_a_run_over_tls_from_the_migration_to_the_application(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, url: URL
) -> None:
    server = Server(url, timeout=60)
    for project in make_project(pytester, monkeypatch, server, url):
        project.alembic(ASYNC_ENV)
        project.revision("one", ITEM)
        project.write("test_it.py", LIFE)
        with_driver = _urls.parse(str(_urls.render(url)).replace(":", "+asyncpg:", 1))
        result = project.run("--pg-url", str(_urls.render(with_driver)))
        result.assert_outcomes(passed=2)
    server.close()


def test_env_py_is_not_run_without_tls_by_a_driver_whose_url_cannot_ask_for_it(
    url: URL,
) -> None:
    with pytest.raises(ConfigurationError, match="pg8000"):
        env_py.sync_url(url.set(drivername="postgresql+pg8000"))
    assert env_py.sync_url(url.set(drivername="postgresql+psycopg2")).query == url.query


def test_an_asyncpg_url_of_an_application_keeps_what_is_its_own() -> None:
    text = "postgresql+asyncpg://joe@db/shop?prepared_statement_cache_size=0&sslmode=require"
    url = _urls.parse(text)
    assert dict(url.query) == {"prepared_statement_cache_size": "0", "ssl": "require"}
    assert _urls.parse(str(_urls.render(url))) == url
    assert create_async_engine(url).url == url
