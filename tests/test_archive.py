"""``pgtemplate build``, ``save`` and ``load``: a template made ahead, and carried in a file."""

from __future__ import annotations

import io
import json
import re
import secrets
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import SqlFiles, _archive, _urls
from pytest_pgtemplate._reset import install
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._template import Target, Template
from pytest_pgtemplate._template import template as _template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase
from pytest_pgtemplate.errors import ConfigurationError, TemplateError
from support.databases import EVERYTHING, RUN, bindir_of, pg_dump
from support.kinds import KINDS, TIMEOUT, Kind, server_as, url_of
from support.programs import load_program
from support.projects import COUNTED, ITEM, Project, query, unique
from support.servers import private_server

SETTINGS = """
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());
    EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database());
END
$$;
"""
PLAIN = """
CREATE TABLE item (id serial PRIMARY KEY, name text, raw bytea);
INSERT INTO item (name, raw) SELECT 'item ' || n, '\\x00ff' FROM generate_series(1, 100) n;
DELETE FROM item WHERE id % 3 = 0;
CREATE VIEW names AS SELECT name FROM item;
"""
ELSEWHERE = "DROP SCHEMA public; CREATE SCHEMA shop; CREATE TABLE shop.item (id int PRIMARY KEY);"


class Templates:
    """Templates of one prefix, made from SQL, and saved to a file."""

    def __init__(self, server: Server, directory: Path, prefix: str) -> None:
        self.server, self.directory, self.prefix = server, directory, prefix
        self.client = _archive.Client(server, None)
        self.file = directory / "templates.pgt"

    def make(self, script: str) -> str:
        """Build a template and return its name."""
        path = self.directory / f"{secrets.token_hex(4)}.sql"
        path.write_text(script)
        migrations = SqlFiles(path)

        def build(scratch: _template.ScratchDatabase) -> str | None:
            url = self.server.url.set(database=scratch.name)
            migrations.migrate(Target(url, TIMEOUT))
            return install(url, "auto", timeout=TIMEOUT)

        order = _template.TemplateRequest(
            self.prefix,
            RUN,
            _template.compute_fingerprint(migrations.fingerprint(), self.server),
            rebuild=False,
            lineage=migrations.lineage,
        )
        return _template.ensure_template(order, build, self.server, self.directory).name

    def save(self, *names: str) -> None:
        sources = [_archive.Source(self.client, name) for name in names]
        _archive.save(sources, "auto", RUN, self.file)

    def load(self) -> list[Template]:
        return list(_archive.load(lambda _: self.client, self.file, RUN, self.directory))

    def dump(self, name: str, bindir: Path) -> tuple[list[str], Any]:
        """What a clone holds after a reset, and the settings and privileges it has."""
        worker = self.worker(name)
        try:
            assert worker.reset().reclone_reason is None
            found = self.server.find(worker.database.name)
            assert found is not None
            assert found.mark is not None
            grants = set(found.mark.grants or ())
            return pg_dump(worker.database.url, bindir), (found.mark.settings, grants)
        finally:
            worker.close(drop=True)

    def worker(self, name: str) -> WorkerDatabase:
        template = Template(name, "", built=False)
        return WorkerDatabase(
            self.server, template, database_names.worker(self.prefix, RUN, "main"), RUN
        )

    def names(self) -> list[str]:
        names = [each.name for each in self.server.databases()]
        return [each for each in names if each.startswith(f"{self.prefix}_")]

    def drop(self) -> None:
        for name in self.names():
            self.server.drop(name)


@pytest.fixture
def templates(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Templates]:
    """On PostgreSQL 18 as a superuser, or as a parameter says."""
    kind: Kind = getattr(request, "param", KINDS[0])
    with server_as(url_of(request, kind.server), kind.role) as server:
        templates = Templates(server, tmp_path, unique("t"))
        yield templates
        templates.drop()


@pytest.mark.full("values")
@pytest.mark.parametrize("where", ["server", "system"])
@pytest.mark.parametrize(
    ("role", "script"),
    [
        ("superuser", EVERYTHING),
        ("superuser", ELSEWHERE),
        ("plain", PLAIN),
    ],
    ids=["everything", "without public", "plain"],
)
def test_loading_is_exact(
    where: str, role: str, script: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """By PostgreSQL's own dump of both, also after a reset; settings and privileges included."""
    given = request.getfixturevalue(f"{where}_url")
    with server_as(_urls.parse(given) if isinstance(given, str) else given, role) as server:
        bindir = bindir_of(server)
        if bindir is None:
            pytest.skip("no pg_dump of this server's version")
        templates = Templates(server, tmp_path, unique("t"))
        try:
            name = templates.make(script + SETTINGS)
            before = templates.dump(name, bindir)
            mark = find(server, name).mark
            templates.save(name)
            templates.drop()
            assert [each.built for each in templates.load()] == [True]
            assert templates.dump(name, bindir) == before
            loaded = find(server, name).mark
            assert (loaded.heads, loaded.lineage) == (mark.heads, mark.lineage)
            assert templates.names() == [name]
        finally:
            templates.drop()


def find(server: Server, name: str) -> Any:
    found = server.find(name)
    assert found is not None
    return found


def test_load_keeps_a_template_that_exists(templates: Templates) -> None:
    first, second = templates.make(PLAIN), templates.make(PLAIN + "SELECT 1")
    templates.save(first, second)
    templates.server.drop(second)
    before = find(templates.server, first).mark
    assert [each.built for each in templates.load()] == [False, True]
    assert [each.built for each in templates.load()] == [False, False]
    assert find(templates.server, first).mark == before


def test_many_load_at_once(templates: Templates) -> None:
    name = templates.make(PLAIN)
    templates.save(name)
    templates.drop()

    def load(_: int) -> bool:
        with closing(Server(templates.server.url, timeout=TIMEOUT)) as server:
            run = secrets.token_hex(4)
            client = _archive.Client(server, None)
            [loaded] = _archive.load(lambda _: client, templates.file, run, templates.directory)
            return loaded.built

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(load, range(4))) == [False, False, False, True]
    assert templates.names() == [name]


def elsewhere(**changes: object) -> Callable[[Path], None]:
    """Let the template be from a server that is another in this."""
    return change(lambda manifest: manifest["templates"][0]["server"].update(changes))


def change(how: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def rewrite(file: Path) -> None:
        with tarfile.open(file) as archive:
            files: Any = {each.name: archive.extractfile(each) for each in archive}
            members = {name: file.read() for name, file in files.items()}
        manifest = json.loads(members["manifest.json"])
        how(manifest)
        members["manifest.json"] = json.dumps(manifest).encode()
        with tarfile.open(file, "w") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    return rewrite


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (elsewhere(PostgreSQL=12), "PostgreSQL 12"),
        (elsewhere(locale="LATIN1 C C"), "locale LATIN1 C C"),
        (elsewhere(role="somebody"), "role somebody"),
        (change(lambda manifest: manifest.update(format=99)), "newer pytest-pgtemplate"),
        (change(lambda manifest: manifest["templates"][0].update(mark="none")), "pgtemplate save"),
        (change(lambda manifest: manifest.update(templates=None)), "pgtemplate save"),
        (lambda file: file.write_bytes(b"PK"), "pgtemplate save"),
        (lambda file: file.write_bytes(file.read_bytes()[:700]), "pgtemplate save"),
        (Path.unlink, "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(
    templates: Templates, spoil: Callable[[Path], object], says: str
) -> None:
    templates.save(templates.make("SELECT 1"))
    templates.drop()
    spoil(templates.file)
    with pytest.raises(ConfigurationError) as caught:
        templates.load()
    assert says in str(caught.value)
    assert templates.names() == []


def test_a_file_that_cannot_be_written(templates: Templates) -> None:
    templates.file = templates.directory / "no such directory" / "file"
    with pytest.raises(ConfigurationError, match="no such directory"):
        templates.save(templates.make("SELECT 1"))


# The commands

CONFTEST = load_program("archive/root_conftest.py")
TEST = load_program("archive/tests.py")


def pgtemplate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest_pgtemplate._cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def shop(project: Project) -> Project:
    """Tests in a folder with a conftest.py of its own, and a module that is not to be imported."""
    project.alembic()
    project.revision("one", ITEM + COUNTED)
    project.ini(testpaths="tests", addopts="-n2")
    project.write("tests/conftest.py", CONFTEST)
    project.write("tests/test_first.py", TEST)
    project.write("tests/test_second.py", "import no_such_module")
    return project


def test_build_save_and_load(shop: Project) -> None:
    """What overridden fixtures say counts, and nothing more is imported or set up than it takes."""
    built = pgtemplate("build")
    assert (built.returncode, built.stderr) == (0, "")
    unseeded, seeded = sorted(shop.databases(), key=lambda each: each not in built.stdout)[::-1]
    first, second = built.stdout.splitlines()
    assert re.fullmatch(rf"{seeded}: migrated 1 of 1 revisions in [\d.]+ s", first)
    assert re.fullmatch(rf"fingerprint {seeded.rpartition('_')[2]}\w+", second)

    saved = pgtemplate("save", "cache.pgt", "-k", "names")
    assert (saved.returncode, saved.stderr) == (0, "")
    assert f"{seeded}: exists already\n" in saved.stdout
    assert f"saved {unseeded} and {seeded} to cache.pgt" in saved.stdout

    shop.clean()
    loaded = pgtemplate("load", "cache.pgt")
    assert re.findall(r"(\w+): loaded in ", loaded.stdout) == [unseeded, seeded]

    shop.write("tests/test_first.py", TEST.replace("autouse=True", ""))
    shop.write("tests/test_second.py", "")
    result = shop.run("-n0")
    result.assert_outcomes(passed=2)
    assert " reused;" in result.stdout.str()
    assert shop.migrations() == 1

    shop.revision("two", COUNTED)
    assert "migrated 1 of 2 revisions" in pgtemplate("build", "tests/test_first.py").stdout
    assert shop.migrations() == 2


ORDERS = load_program("archive/orders.py")


@pytest.mark.full
def test_each_database_that_tests_need_is_created_on_its_server(
    shop: Project, system_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the test that is met first knows nothing of the other database."""
    monkeypatch.setenv("PGTEMPLATE_URL_ORDERS", _urls.render(system_url))
    shop.ini(testpaths="tests", pg_databases="orders unused")
    shop.write("orders.sql", "CREATE TABLE bill (euros int); INSERT INTO bill VALUES (9)")
    shop.write("tests/test_orders.py", ORDERS)
    with closing(Server(system_url, timeout=TIMEOUT)) as server:
        orders = Templates(server, shop.root, shop.prefix)
        try:
            saved = pgtemplate("save", "cache.pgt")
            assert (saved.returncode, saved.stderr) == (0, "")
            [order], main = orders.names(), shop.databases()
            assert f"{order}: migrated 1 of 1 files in " in saved.stdout
            assert f" and {order} to cache.pgt" in saved.stdout

            shop.clean()
            orders.drop()
            loaded = pgtemplate("load", "cache.pgt")
            assert sorted(re.findall(r"(\w+): loaded in ", loaded.stdout)) == sorted([order, *main])
            assert (orders.names(), shop.databases()) == ([order], main)
            result = shop.run("-k", "bill", "--continue-on-collection-errors")
            result.stdout.fnmatch_lines([f"pgtemplate: orders: template {order} reused;*"])
        finally:
            orders.drop()


def test_a_build_that_fails(shop: Project) -> None:
    shop.revision("two", "raise ArithmeticError('no luck')")
    failed = pgtemplate("build")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("pgtemplate: alembic upgrade heads failed")
    assert "no luck" in failed.stderr
    assert failed.stderr.count("HINT:") == 1


def test_no_test_that_needs_a_template(shop: Project) -> None:
    failed = pgtemplate("save", "cache.pgt", "tests/test_first.py::test_plain")
    assert failed.returncode == 1
    assert "no test that needs the database" in failed.stderr
    assert not (shop.root / "cache.pgt").exists()


@pytest.mark.full("one")
@pytest.mark.parametrize("mark", ["skip", "skipif(True, reason='later')", "xfail(run=False)"])
def test_a_test_that_is_skipped_needs_its_template(shop: Project, mark: str) -> None:
    """No test runs. The templates of further databases would be missing, without an error."""
    shop.write("tests/test_first.py", f"import pytest\n@pytest.mark.{mark}\ndef test_it(pg): ...")
    built = pgtemplate("build", "tests/test_first.py")
    assert built.returncode == 0, built.stderr
    assert "_tpl_" in built.stdout


def test_a_hook_that_skips_every_test(shop: Project) -> None:
    shop.write("tests/test_first.py", "def test_it(pg): ...")
    hook = "import pytest\ndef pytest_runtest_setup(item):\n    pytest.skip('not here')\n"
    shop.write("tests/conftest.py", hook)
    failed = pgtemplate("build", "tests/test_first.py")
    assert failed.returncode == 1
    assert "test_it, the first test that needs the database, was skipped" in failed.stderr


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("file", [".", "no/cache.pgt", "pytest.ini/cache.pgt", "x" * 300])
def test_a_file_that_cannot_be_saved(file: str) -> None:
    failed = pgtemplate("save", file)
    assert failed.returncode == 1
    assert "cannot be written" in failed.stderr
    assert failed.stderr.count("HINT:") == 1


@pytest.mark.full
@pytest.mark.usefixtures("shop")
def test_no_place_to_extract_a_file() -> None:
    """Which is no fault of the file."""
    assert pgtemplate("save", "cache.pgt").returncode == 0
    command = f"ulimit -f 1; exec {sys.executable} -m pytest_pgtemplate._cli.main load cache.pgt"
    failed = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False
    )
    assert failed.returncode == 1
    assert "File too large" in failed.stderr
    assert "TMPDIR" in failed.stderr


# Where a commit would wait for a disk

COMMIT = "SELECT current_setting('synchronous_commit')"


def test_no_worker_waits_for_a_disk(templates: Templates, slow_disk: Server) -> None:
    """Unless its migrations want it; the template has no setting that they did not make."""
    there = Templates(slow_disk, templates.directory, templates.prefix)
    own = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = local',"
    own += " current_database()); END $$"
    for script, expected in (("SELECT 1", "off"), (own, "local")):
        name = there.make(script)
        worker = there.worker(name)
        assert tuple(query(worker.database.url, COMMIT)[0]) == (expected,)
        settings = (("synchronous_commit", expected),)
        assert find(slow_disk, name).mark.settings == (settings if script == own else ())
        assert find(slow_disk, worker.database.name).mark.settings == settings
        worker.close()
        again = there.worker(name)
        assert again.from_spare
        assert tuple(query(again.database.url, COMMIT)[0]) == (expected,)
        again.reclone()
        assert tuple(query(again.database.url, COMMIT)[0]) == (expected,)
        again.close()


@pytest.fixture
def slow_disk() -> Iterator[Server]:
    """A server with fsync on."""
    with private_server(fsync="on") as url, closing(Server(url, timeout=TIMEOUT)) as server:
        yield server


# Functions that call others by their bare names

COMPUTED = """
CREATE FUNCTION inner_price(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE FUNCTION price(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT inner_price($1)';
CREATE DOMAIN cheap AS int CHECK (price(VALUE) < 1000);
CREATE TABLE product (
    net int CHECK (price(net) > 0),
    gross int GENERATED ALWAYS AS (price(net)) STORED,
    least cheap
);
INSERT INTO product (net, least) VALUES (1, 2);
"""
ELSEWHERE = f"CREATE SCHEMA shop; SET search_path = shop; {COMPUTED}"


@pytest.mark.full("one")
@pytest.mark.parametrize("templates", KINDS, indirect=True, ids=str)
def test_what_is_saved_can_be_loaded(templates: Templates) -> None:
    """A schema that pg_restore cannot load, because it empties the search path."""
    bindir = bindir_of(templates.server)
    assert bindir is not None
    name = templates.make(COMPUTED)
    before = templates.dump(name, bindir)
    templates.save(name)
    templates.drop()
    assert [each.name for each in templates.load()] == [name]
    assert templates.dump(name, bindir) == before


@pytest.mark.full("one")
@pytest.mark.parametrize("templates", KINDS, indirect=True, ids=str)
def test_what_could_not_be_loaded_is_not_saved(templates: Templates) -> None:
    """Migrations set another search path than the database has; the error names the object."""
    name = templates.make(ELSEWHERE)
    with pytest.raises(TemplateError, match="inner_price"):
        templates.save(name)
    assert not templates.file.exists()
    assert templates.names() == [name]
