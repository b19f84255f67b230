"""The password in the URL is shown nowhere: not by any failure, not in the list of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._child import password_environment
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.quoting import quote_literal
from pytest_pgtemplate._urls.redaction import find_passwords, find_passwords_of_libpq
from support.clients import Clients
from support.programs import load_program
from support.projects import ITEM, TESTS, Project, execute, interruptible, make_project, unique
from support.servers import free_port, tcp

PASSWORD = "correct-horse/%battery?staple"
SPELLINGS = {PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), PASSWORD.replace("%", "%%")}


@dataclass
class Secret:
    """A project on a server that wants a password, and what its runs have shown."""

    project: Project
    url: URL

    def run(self, *arguments: str, act: Callable[[subprocess.Popen[str]], object] = id) -> str:
        """Run pytest, with everything on that shows more; return all that could be seen."""
        command = self.project.command("-p", "no:xdist", *SHOWN, *arguments)
        return self.watch(command, act=act)

    def watch(
        self, command: list[str], *, act: Callable[[subprocess.Popen[str]], object] = id
    ) -> str:
        with interruptible():
            process = subprocess.Popen(
                command,
                cwd=self.project.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        with Listing() as listing:
            act(process)
            output, _ = process.communicate(timeout=120)
        files = [self.project.root / "report.xml", *self.project.root.glob(".cache/**/*")]
        seen = output + "".join(file.read_text() for file in files if file.is_file())
        seen += "\n".join(sorted(listing.lines))
        for spelling in SPELLINGS:
            at = seen.find(spelling)
            assert at < 0, f"shown: {seen[max(0, at - 600) : at + 200]}"
        return output


PGTEMPLATE = [sys.executable, "-m", "pytest_pgtemplate._cli.main"]
SHOWN = ["--showlocals", "--tb=long", "-vv", "-rA", "--junitxml=report.xml", "--pg-stats"]


class Listing:
    """What ps shows of all processes, again and again while it is entered."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Listing:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.lines.add(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue


@pytest.fixture
def secret(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, private_url: URL
) -> Iterator[Secret]:
    role = unique("joe")
    literal = quote_literal(PASSWORD)
    execute(private_url, f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {literal}")
    server = Server(private_url, timeout=60)
    url = tcp(private_url, username=role, password=PASSWORD)
    for project in make_project(pytester, monkeypatch, server, url):
        project.alembic()
        project.revision("one", ITEM)
        project.write("test_it.py", TESTS)
        yield Secret(project, url)
    server.close()
    execute(private_url, f"DROP ROLE {role}")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://ci@myserver:s3cr3t@myserver.postgres.example/postgres",
        "postgresql://ci:s3cr3t@host:5432/postgres",
        "postgresql://host/postgres?user=ci&sslpassword=s3cr3t",
    ],
)
def test_the_password_of_any_url_is_known(url: str) -> None:
    assert find_passwords([url]) == {"s3cr3t"}


FAILING = load_program("secrets/failing.py")


def test_tests_that_fail(secret: Secret) -> None:
    secret.project.ini(pg_on_ddl="error")
    secret.project.write("test_it.py", FAILING)
    output = secret.run("-s", "--pg-keep-failed", "--pg-log-sql=failed")
    for message in (
        "SELECT CAST(%(url)s AS text)",
        "in a test",
        "in a fixture",
        "left a transaction open",
        "psql '",
        "no_such_table",
        "the schema changed",
    ):
        assert message in output


@pytest.mark.full("one")
@pytest.mark.parametrize("workers", [["-p", "no:xdist"], ["-n1"]], ids=["main", "worker"])
def test_tests_that_pytest_retry_repeats(
    secret: Secret, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    """It makes the report of the last attempt after all ``pytest_runtest_makereport`` hooks."""
    pytest.importorskip("pytest_retry")
    off = os.environ["PYTEST_ADDOPTS"].split()
    off.remove("-pno:pytest-retry")
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(off))
    secret.project.write(
        "test_it.py",
        """
        def test_it(pg_url):
            plain = "".join(pg_url)  # whose repr contains the password
            raise LookupError("in a test")
        """,
    )

    output = secret.watch(secret.project.command(*workers, *SHOWN, "--retries=1"))

    assert "1 failed, 1 retried" in output
    assert "plain      = 'postgresql" in output


def test_tests_that_are_expected_to_fail(secret: Secret) -> None:
    secret.project.write(
        "test_it.py",
        """
        import pytest

        @pytest.mark.xfail
        def test_it(pg_url):
            assert not pg_url
        """,
    )
    assert "assert not" in secret.run("--xfail-tb")


def test_workers(secret: Secret) -> None:
    secret.project.write("test_it.py", FAILING)
    command = secret.project.command("-n", "2", *SHOWN, "--pg-keep")
    output = secret.watch(command)
    assert "failed" in output
    assert "kept gw" in output


def test_test_modules_that_cannot_be_imported(secret: Secret) -> None:
    secret.project.ini(pg_env="PG_URL")
    secret.project.write(
        "test_it.py",
        "import os\nurl = os.environ['PG_URL']\nprint(url)\nraise ValueError(f'not this: {url}')\n",
    )
    assert "not this: postgresql" in secret.run()


BROKEN = """
url = op.get_context().config.get_main_option("sqlalchemy.url")
print("url is", url)
raise LookupError(url, op.get_bind().engine.url.password)
"""
MIGRATIONS = {
    "raises": BROKEN,
    "takes too long": 'print(os.environ["PG_URL"], flush=True); op.execute("SELECT pg_sleep(60)")',
    "exits": 'print(os.environ["PG_URL"], flush=True); os._exit(9)',
}


@pytest.mark.parametrize(
    "how", ["raises", "exits", pytest.param("takes too long", marks=pytest.mark.full)]
)
def test_migrations_that_fail(secret: Secret, how: str) -> None:
    secret.project.ini(pg_env="PG_URL")
    secret.project.revision("two", MIGRATIONS[how])
    output = secret.run("-o", "pg_timeout=4")
    assert "alembic upgrade heads" in output
    assert "***" in output


def test_servers_that_cannot_be_used(secret: Secret) -> None:
    wrong = {
        "cannot connect": secret.url.set(port=free_port()),
        "refused the password": secret.url.set(username="nobody"),
        "no-such-host": secret.url.set(host="no-such-host.invalid"),
    }
    for message, url in wrong.items():
        os.environ["PGTEMPLATE_URL"] = str(_urls.render(url))
        assert message in secret.run()


def test_values_that_cannot_be_used(secret: Secret) -> None:
    url = str(_urls.render(secret.url))
    for wrong in (url.replace("postgresql", "mysql"), url + ":x", url.replace("127", "[127")):
        os.environ["PGTEMPLATE_URL"] = wrong
        assert "pg_url" in secret.run()


SEED = """
import pytest

@pytest.fixture(scope="session")
def pg_seed(pytestconfig):
    return None
"""


def test_an_interrupt_in_a_migration(secret: Secret) -> None:
    """Ctrl-C shows where it was, which is deep within the plugin, and with its arguments.

    The migration runs in the main thread, because a fixture is overridden and has a parameter.
    """
    secret.project.write("conftest.py", SEED)
    secret.project.revision("two", 'open("begun", "w").close(); op.execute("SELECT pg_sleep(60)")')
    begun = secret.project.root / "begun"

    def interrupt(process: subprocess.Popen[str]) -> None:
        while not begun.exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)

    output = secret.run("--full-trace", act=interrupt)
    assert "KeyboardInterrupt" in output
    assert "_child/process.py" in output


def test_the_command(secret: Secret) -> None:
    for command in (["list"], ["doctor"], ["prune"]):
        secret.watch([*PGTEMPLATE, *command])
    os.environ["PGTEMPLATE_URL"] = str(_urls.render(secret.url.set(port=free_port())))
    assert "cannot connect" in secret.watch([*PGTEMPLATE, "list"])


def test_programs_of_postgresql_get_it_in_their_environment(
    secret: Secret, clients: Clients
) -> None:
    for command in (["psql", "postgres"], ["save", "it"], ["load", "it"]):
        secret.watch([*PGTEMPLATE, "--bindir", str(clients.bindir), *command])
        for name in secret.project.databases():
            secret.project.server.drop(name)

    logged = clients.logged_arguments()
    programs = [Path(line.split()[0]).name for line in logged]
    assert programs == ["psql", "pg_dump", "pg_restore", "pg_restore"]  # save loads what it wrote
    for line in logged:
        arguments, _, given = line.partition(" PGPASSWORD=")
        assert given == PASSWORD
        assert "127.0.0.1" in arguments
        assert not [spelling for spelling in SPELLINGS if spelling in arguments]


AT_SIGN = "correct@horse-battery"


def test_a_password_with_an_at_sign_that_is_not_encoded(secret: Secret) -> None:
    """Everybody would take the part behind the first @ for the host, and show it."""
    plain = str(_urls.render(secret.url.set(password="PASSWORD")))
    os.environ["PGTEMPLATE_URL"] = plain.replace("PASSWORD", AT_SIGN)
    for output in (secret.run(), secret.watch([*PGTEMPLATE, "list"])):
        assert "horse" not in output
        assert "%40" in output


CONNECTS = """
import asyncio
import asyncpg

def test_it(pg_database):
    asyncio.run(asyncpg.connect(pg_database.dsn, database="no_such_database"))
"""


@pytest.mark.parametrize(
    "place", ["PGPASSWORD", "PGPASSFILE", pytest.param("home", marks=pytest.mark.full)]
)
def test_a_password_that_is_not_in_the_url(
    secret: Secret, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pytest shows the arguments of the driver's function that fails."""
    monkeypatch.setenv("PGTEMPLATE_URL", str(_urls.dsn_without_passwords(secret.url)))
    monkeypatch.setenv("HOME", str(tmp_path))
    passfile = tmp_path / ".pgpass"
    if place == "PGPASSWORD":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    else:
        passfile.write_text(f"# comment\n*:*:*:other:x\n*:*:*:*:{PASSWORD}\n", "utf-8")
        passfile.chmod(0o600)
    if place == "PGPASSFILE":
        monkeypatch.setenv("PGPASSFILE", str(passfile.rename(tmp_path / "passwords")))
    secret.project.write("test_it.py", CONNECTS)

    output = secret.run()

    assert "InvalidCatalogNameError" in output
    assert "password='***'" in output


def test_the_passwords_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pgpass").write_text(
        "h\\:1:5432:*:ci:one\\:two\\\\\n#h:1:d:u:no\nh:1:d:u:with space\n"
    )
    (tmp_path / "services").write_text("[ci]\nuser = ci\npassword = three\n")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.delenv("PGPASSWORD", raising=False)
    assert find_passwords_of_libpq() == {"one:two\\", "with space", "three"}


@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg"])
def test_the_passphrase_of_a_key_is_no_argument(driver: str) -> None:
    query = "sslkey=client.key&sslpassword=a%20b"
    url = _urls.parse(f"postgresql{driver}://ci:{quote(PASSWORD, safe='')}@host/postgres?{query}")

    dsn = str(_urls.dsn_without_passwords(url))
    assert dsn == "postgresql://ci@host/postgres?sslkey=client.key"
    with password_environment(url) as variables:
        assert variables["PGPASSWORD"] == PASSWORD
        services = Path(variables["PGSERVICEFILE"])
        assert services.read_text() == f"[{variables['PGSERVICE']}]\nsslpassword=a b\n"
        assert services.stat().st_mode & 0o777 == 0o600
    assert not services.exists()


@pytest.mark.usefixtures("secret")
def test_psql_passes_its_exit_code_on() -> None:
    command = [*PGTEMPLATE, "psql", "no_such_database"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "no_such_database" in ended.stderr
