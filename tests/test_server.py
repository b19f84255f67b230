"""``Server``, with a real server, as a superuser and as a role with CREATEDB only."""

from __future__ import annotations

import inspect
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate._server import Server, portal
from pytest_pgtemplate._server.facts import NEWEST, OLDEST, check_facts
from pytest_pgtemplate._server.marks import CONNECTION_LIMIT, INVALID, KEY, Mark
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
from pytest_pgtemplate._template import Template
from pytest_pgtemplate._template import template as _template
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate._worker import WorkerDatabase
from pytest_pgtemplate._worker.spares import clone_mark
from pytest_pgtemplate.errors import ConfigurationError, NotOursError, ServerError
from support.projects import execute, query, unique
from support.servers import private_server, system_bindir

RUN = "0a1b2c3d"
SCRATCH = Mark("scratch", RUN, "f" * 64)
TEMPLATE = Mark("template", RUN, "f" * 64)

Act = Callable[[Server, str], None]
Connect = Callable[..., Server]


@pytest.fixture
def another(server: Server) -> Iterator[Connect]:
    """Make another connection, as another process has it."""
    with ExitStack() as servers:

        def connect(timeout: float = 60, **changes: str) -> Server:
            made = Server(server.url.set(**changes), timeout=timeout)  # type: ignore[arg-type]
            servers.callback(made.close)
            return made

        yield connect


@pytest.fixture(params=["superuser", "plain role", "Odd.Role"])
def owner(request: pytest.FixtureRequest, server: Server, another: Connect) -> Iterator[Server]:
    """The server as a superuser sees it, and as a role that may only create databases."""
    if request.param == "superuser":
        assert server.facts.superuser
        yield server
        return
    role = unique("pgt_plain" if request.param == "plain role" else "Odd.Role")
    quoted = quote_identifier(role)
    execute(server.url, f"CREATE ROLE {quoted} LOGIN CREATEDB PASSWORD 'secret'")
    try:
        yield another(username=role, password="secret")
    finally:
        execute(server.url, f"DROP ROLE {quoted}")


@pytest.fixture
def odd_role(server: Server) -> Iterator[str]:
    """A role whose name needs quoting in every place where a name can stand."""
    role = unique("""pgt 'odd' "role" %s $1 """)
    execute(server.url, f"CREATE ROLE {quote_identifier(role)}")
    yield role
    execute(server.url, f"DROP ROLE {quote_identifier(role)}")


def names(server: Server, prefix: str) -> set[str]:
    return {base.name for base in server.databases() if base.name.startswith(f"{prefix}_")}


def publish(server: Server, prefix: str, *sql: str) -> str:
    """Make a template with a table in it, and run ``sql`` in it before it is sealed."""
    scratch, final = database_names.scratch(prefix, RUN), database_names.template(prefix, "f" * 64)
    server.create(scratch, SCRATCH)
    execute(server.url, "CREATE TABLE item (id int)", *sql, database=scratch)
    server.publish(scratch, final, TEMPLATE)
    return final


def test_a_database_is_created_published_cloned_and_dropped(
    owner: Server, prefix: str, another: Connect
) -> None:
    """Created, published, cloned, dropped: marked at every step, and sealed in the middle."""
    scratch = database_names.scratch(prefix, RUN)
    owner.create(scratch, SCRATCH)
    found = owner.find(scratch)
    assert found is not None
    assert found.mark is not None
    assert found.mark.created == found.mark.used > 0  # by the server's clock
    assert replace(found.mark, created=0, used=0) == replace(SCRATCH, created=0, used=0)
    assert found.connection_limit == CONNECTION_LIMIT
    assert found.is_ours
    assert not found.sealed

    execute(owner.url, "CREATE TABLE item (id int)", database=scratch)
    template = database_names.template(prefix, "f" * 64)
    owner.publish(scratch, template, TEMPLATE)
    found = owner.find(template)
    assert found is not None
    assert found.sealed
    assert found.mark is not None
    assert (found.mark.kind, found.mark.fingerprint) == ("template", "f" * 64)
    assert owner.find(scratch) is None
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        query(owner.url, "SELECT 1", database=template)

    name = database_names.worker(prefix, RUN, "gw0")
    worker = WorkerDatabase(owner, Template(template, "f" * 64, built=True), name, RUN)
    assert query(worker.database.url, "SELECT count(*) FROM item")[0][0] == 0
    found = another().find(name)
    assert found is not None
    assert found.leased
    assert found.mark is not None
    assert found.mark.kind == "worker"

    worker.close(drop=True)
    owner.drop(template)
    owner.drop(template)  # what is gone already is no reason to fail
    assert names(owner, prefix) == set()


def test_a_drop_ends_connections(owner: Server, prefix: str) -> None:
    scratch = database_names.scratch(prefix, RUN)
    owner.create(scratch, SCRATCH)
    other = ThreadPoolExecutor(1).submit(query, owner.url, "SELECT pg_sleep(60)", database=scratch)
    while not query(
        owner.url, "SELECT FROM pg_stat_activity WHERE datname = $1 AND state = 'active'", scratch
    ):
        assert not other.done()
    owner.drop(scratch)
    with pytest.raises(asyncpg.PostgresError):
        other.result(10)
    assert owner.find(scratch) is None


# What a database needs to be taken for ours: no one thing alone is enough.
STRANGERS = {
    "same name": ("{prefix}_0a1b2c3d_gw0", []),
    "same name of a template": ("{prefix}_tpl_0123456789ab", []),
    "comment that is not JSON": (
        "{prefix}_0a1b2c3d_gw0",
        [f"COMMENT ON DATABASE {{name}} IS '{KEY} 1'"],
    ),
    "comment of somebody else": (
        "{prefix}_0a1b2c3d_gw0",
        ["""COMMENT ON DATABASE {name} IS '{{"kind": "worker", "run": "0a1b2c3d"}}'"""],
    ),
    "comment with no more than our key": (
        "{prefix}_0a1b2c3d_gw0",
        [f"""COMMENT ON DATABASE {{name}} IS '{{{{"{KEY}": 1}}}}'"""],
    ),
    "our mark of another version": (
        "{prefix}_0a1b2c3d_gw0",
        [f"""COMMENT ON DATABASE {{name}} IS '{SCRATCH.dumps().replace("1", "2", 1)}'"""],
    ),
    "our connection limit": (
        "{prefix}_shop",
        [f"ALTER DATABASE {{name}} CONNECTION LIMIT {CONNECTION_LIMIT}"],
    ),
    "our name and more, our connection limit": (
        "{prefix}_0a1b2c3d_gw0_backup",
        [f"ALTER DATABASE {{name}} CONNECTION LIMIT {CONNECTION_LIMIT}"],
    ),
    "our name and connection limit, but a template": (
        "{prefix}_0a1b2c3d_gw0",
        [f"ALTER DATABASE {{name}} IS_TEMPLATE true CONNECTION LIMIT {CONNECTION_LIMIT}"],
    ),
}
STATE_QUERY = """
SELECT datname, datistemplate, datallowconn, datconnlimit, shobj_description(oid, 'pg_database')
  FROM pg_database WHERE datname = $1
"""


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_database_that_is_not_ours_stays_as_it_is(
    prefix: str, server: Server, stranger: str
) -> None:
    pattern, changes = STRANGERS[stranger]
    name = pattern.format(prefix=prefix)
    changes = [
        change.replace("{name}", quote_identifier(name)).replace("{{", "{").replace("}}", "}")
        for change in changes
    ]
    execute(server.url, f"CREATE DATABASE {quote_identifier(name)}", *changes)
    before = query(server.url, STATE_QUERY, name)

    acts: list[Act] = [
        lambda server, name: server.drop(name),
        lambda server, name: server.publish(name, f"{prefix}_tpl_ffffffffffff", TEMPLATE),
        lambda server, name: server.keep_aside(name, f"{name}1", TEMPLATE),
    ]
    for act in acts:
        with pytest.raises(NotOursError, match=name):
            act(server, name)
        assert query(server.url, STATE_QUERY, name) == before
    assert names(server, prefix) == set()


def test_a_template_is_not_published_over_a_database_that_is_not_ours(
    prefix: str, server: Server
) -> None:
    final = database_names.template(prefix, "f" * 64)
    execute(server.url, f"CREATE DATABASE {final}")
    scratch = database_names.scratch(prefix, RUN)
    server.create(scratch, SCRATCH)
    with pytest.raises(NotOursError, match=final):
        server.publish(scratch, final, TEMPLATE)
    assert [row["shobj_description"] for row in query(server.url, STATE_QUERY, final)] == [None]
    assert names(server, prefix) == {scratch}


def test_a_database_without_its_mark_is_ours_unless_it_is_leased(
    prefix: str, server: Server, another: Connect
) -> None:
    """A kill between CREATE DATABASE and COMMENT leaves one."""
    name = database_names.worker(prefix, RUN, "gw0")
    execute(server.url, f"CREATE DATABASE {name} CONNECTION LIMIT {CONNECTION_LIMIT}")
    alive = another()
    alive.lease(name)
    with pytest.raises(NotOursError):
        server.drop(name)
    alive.release(name)
    server.drop(name)
    assert server.find(name) is None


def test_a_lease_lasts_as_long_as_its_connection(
    prefix: str, server: Server, another: Connect
) -> None:
    name = database_names.worker(prefix, RUN, "gw0")
    server.create(name, SCRATCH)
    holder = another()
    holder.lease(name)
    found = server.find(name)
    assert found is not None
    assert found.leased
    with pytest.raises(ServerError, match=name):
        server.lease(name)

    holder.close()
    deadline = time.monotonic() + 10
    while (found := server.find(name)) is not None and found.leased:
        assert time.monotonic() < deadline
    server.lease(name)
    server.release(name)


def test_a_lock_is_waited_for_and_not_for_ever(
    prefix: str, server: Server, another: Connect
) -> None:
    hasty, patient = another(timeout=0.3), another()
    entered = threading.Event()

    def enter() -> None:
        with patient.locked(prefix):
            entered.set()

    with ThreadPoolExecutor(1) as pool:
        with server.locked(prefix):
            with pytest.raises(ServerError), hasty.locked(prefix):
                pytest.fail("two hold one lock")
            waiting = pool.submit(enter)
            with hasty.locked(prefix + "_other"):  # still of use, and other locks are free
                assert not entered.is_set()
        waiting.result(10)
    with hasty.locked(prefix):
        pass


SETTINGS = """
SELECT s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
 WHERE d.datname = $1 AND s.setrole = 0
"""
GRANTS = """
SELECT r.rolname::text AS role, a.privilege_type, a.is_grantable
  FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
 WHERE d.datname = $1 ORDER BY 1, 2, 3
"""


def test_a_clone_has_the_settings_and_privileges_of_its_template(
    owner: Server, odd_role: str, prefix: str
) -> None:
    scratch, final = database_names.scratch(prefix, RUN), database_names.template(prefix, "f" * 64)
    owner.create(scratch, SCRATCH)
    role = quote_identifier(odd_role)
    settings = {
        "search_path": 'shop, "Odd, ""one""", public',
        "timezone": "'Europe/Berlin'",
        "datestyle": "'German, DMY'",
        "statement_timeout": "'1234s'",
        "default_transaction_isolation": "'serializable'",
    }
    if owner.facts.superuser:
        settings["app.title"] = """'it''s "100%" \\ = a, b'"""
    execute(
        owner.url,
        "CREATE SCHEMA shop",
        'CREATE SCHEMA "Odd, ""one"""',
        *(f"ALTER DATABASE {scratch} SET {key} = {value}" for key, value in settings.items()),
        f"REVOKE CONNECT ON DATABASE {scratch} FROM PUBLIC",
        f"GRANT CONNECT, TEMP ON DATABASE {scratch} TO {role}",
        f"GRANT CREATE ON DATABASE {scratch} TO {role} WITH GRANT OPTION",
        database=scratch,
    )
    before = query(owner.url, SETTINGS, scratch)[0]["setconfig"], query(owner.url, GRANTS, scratch)
    assert len(before[0]) == len(settings)
    assert odd_role in {row["role"] for row in before[1]}
    owner.publish(scratch, final, TEMPLATE)

    name = database_names.worker(prefix, RUN, "main")
    worker = WorkerDatabase(owner, Template(final, "f" * 64, built=True), name, RUN)
    after = query(owner.url, SETTINGS, name)[0]["setconfig"], query(owner.url, GRANTS, name)
    assert (sorted(after[0]), after[1]) == (sorted(before[0]), before[1])
    path = query(worker.database.url, "SELECT current_schemas(false)")[0][0]
    assert path == ["shop", 'Odd, "one"', "public"]
    worker.close(drop=True)


def test_a_clone_stores_settings_as_its_template_does(
    owner: Server, odd_role: str, prefix: str
) -> None:
    """Also those of roles, and the owner; values are not brought into another form."""
    role = quote_identifier(odd_role)
    values = {
        "statement_timeout": "'60s'",
        "jit": "false",
        "work_mem": "65536",
        "timezone": "'utc'",
    }
    alter = f"ALTER DATABASE {database_names.scratch(prefix, RUN)}"
    own = f"ALTER ROLE CURRENT_USER IN DATABASE {database_names.scratch(prefix, RUN)}"
    sql = [f"{alter} SET {name} = {value}" for name, value in values.items()]
    sql.append(f"{own} SET search_path = 'a b', public")
    if owner.facts.superuser:
        sql += [f"{alter} SET role = {role}", f"{alter} OWNER TO {role}"]
        sql.append(own.replace("CURRENT_USER", role) + " SET app.tenant = 'x=y'")
    final = publish(owner, prefix, *sql)
    template = owner.find(final)
    assert template is not None
    assert template.mark is not None
    assert len(template.mark.settings) == len(values) + owner.facts.superuser

    name = database_names.worker(prefix, RUN, "main")
    mark = clone_mark(owner, template.mark, "worker", RUN)
    owner.clone(final, name, mark)

    assert owner.is_like_new_clone(name, final, mark, at_most=2**40)
    found, wanted = (query(owner.url, ALL_SETTINGS, each) for each in (name, final))
    assert found == wanted
    assert found[0]["owner"] == (odd_role if owner.facts.superuser else owner.facts.role)


ALL_SETTINGS = """
SELECT r.rolname::text AS owner, s.setrole, setting
  FROM pg_database d
  JOIN pg_roles r ON r.oid = d.datdba
  LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid
  LEFT JOIN unnest(s.setconfig) AS setting ON true
 WHERE d.datname = $1
 ORDER BY s.setrole, setting
"""


def test_a_clone_without_settings_and_privileges_of_its_own_has_the_default_ones(
    owner: Server, prefix: str
) -> None:
    final = publish(owner, prefix)
    name = database_names.worker(prefix, RUN, "main")
    worker = WorkerDatabase(owner, Template(final, "f" * 64, built=True), name, RUN)
    assert query(owner.url, GRANTS, name) == query(owner.url, SETTINGS, name) == []
    worker.close(drop=True)


def test_a_clone_that_fails_leaves_nothing(prefix: str, server: Server) -> None:
    final = publish(server, prefix)
    mark = json.loads(query(server.url, STATE_QUERY, final)[0]["shobj_description"])
    mark["settings"] = [["no_such_setting", "1"]]
    execute(server.url, f"COMMENT ON DATABASE {final} IS {quote_literal(json.dumps(mark))}")
    name = database_names.worker(prefix, RUN, "main")
    with pytest.raises(ServerError, match="no_such_setting"):
        WorkerDatabase(server, Template(final, "f" * 64, built=True), name, RUN)
    assert names(server, prefix) == {final}
    server.lease(name)  # no other session holds it
    server.release(name)


def test_a_clone_while_a_template_is_replaced_is_of_the_old_or_the_new(
    prefix: str, server: Server, another: Connect, tmp_path: Path
) -> None:
    """pytest --pg-rebuild, while another run starts: there is no moment without a template."""
    order = _template.TemplateRequest(prefix, RUN, "f" * 64, rebuild=False)
    publish(server, prefix)
    cloner = another()
    done = threading.Event()

    def clone() -> int:
        clones = 0
        while not done.is_set():
            name = database_names.worker(prefix, RUN, f"gw{clones}")
            cloner.clone(order.name, name, Mark("worker", RUN))
            cloner.drop(name)
            clones += 1
        return clones

    with ThreadPoolExecutor(1) as pool:
        clones = pool.submit(clone)
        for n in range(4):
            rebuild = order._replace(run=f"{n:08x}", rebuild=True)
            _template._build(rebuild, lambda _: None, server, tmp_path)
        done.set()
        assert clones.result(60) > 0
    found = server.find(order.name)
    assert found is not None
    assert found.mark is not None
    assert found.mark.run == "00000003"
    assert names(server, prefix) == {order.name}


def test_a_template_with_an_interrupted_drop_is_rebuilt(
    prefix: str, server: Server, tmp_path: Path
) -> None:
    order = _template.TemplateRequest(prefix, RUN, "f" * 64, rebuild=False)
    publish(server, prefix)
    if not query(server.url, "SELECT current_setting('server_version_num')::int >= 150004")[0][0]:
        pytest.skip("this server knows no invalid databases")
    execute(
        server.url,
        f"UPDATE pg_database SET datconnlimit = {INVALID}, datistemplate = false"
        f" WHERE datname = '{order.name}'",
    )
    template = _template.ensure_template(order, lambda _: None, server, tmp_path)
    assert template.built
    name = database_names.worker(prefix, RUN, "main")
    server.clone(order.name, name, Mark("worker", RUN))
    assert names(server, prefix) == {order.name, name}


def test_a_server_that_is_too_old_is_named_with_its_version(another: Connect) -> None:
    server = another()
    facts = server.facts._replace(version="13.22", version_num=130022)
    with pytest.raises(ServerError) as caught:
        check_facts(facts, server.url)
    for word in ("13.22", str(OLDEST), "HINT:"):
        assert word in str(caught.value)


def test_a_server_that_is_newer_than_those_tested_is_named_so(another: Connect) -> None:
    server = another()
    assert "tested" not in str(server)
    server.facts = server.facts._replace(version="19.1", version_num=190001)
    assert str(server).startswith(f"PostgreSQL 19.1 ({OLDEST} to {NEWEST} are tested)")


def test_a_role_that_may_not_connect_to_postgres_uses_the_database_of_its_url(
    private_url: URL,
) -> None:
    role = unique("pgt_elsewhere")
    execute(
        private_url,
        f"CREATE ROLE {role} LOGIN CREATEDB",
        f"CREATE DATABASE {role} OWNER {role}",
        "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
    )
    try:
        server = Server(private_url.set(username=role, database=role), timeout=60)
        assert server.facts.maintenance == role
        server.close()
        with pytest.raises(ServerError, match=role):
            Server(private_url.set(username=role), timeout=60)
    finally:
        execute(
            private_url,
            "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
            f"DROP DATABASE {role}",
            f"DROP ROLE {role}",
        )


def test_the_password_is_in_no_repr(server: Server) -> None:
    shown = replace_password(server)
    assert "hunter2" not in shown
    assert server.version in shown


def replace_password(server: Server) -> str:
    url, server.url = server.url, server.url.set(password="hunter2")
    try:
        return repr(server)
    finally:
        server.url = url


@pytest.mark.parametrize("which", ["embedded", "of the system"])
def test_versions_of_collations_are_part_of_the_fingerprint(which: str) -> None:
    """Indexes that another release of libc or ICU has sorted are not used any more."""
    with private_server(system_bindir() if which != "embedded" else None) as url:
        server = Server(url, timeout=60)
        try:
            rows = query(
                url,
                "SELECT DISTINCT pg_collation_actual_version(oid) AS version FROM pg_collation"
                " WHERE collversion IS NOT NULL",
            )
            versions = {row["version"] for row in rows}
            assert versions
            assert versions & set(server.facts.locale.split())
        finally:
            server.close()


def test_where_migrations_create_objects_is_part_of_the_fingerprint(server: Server) -> None:
    """A migration that names no schema creates its tables elsewhere with another search path."""
    url = _urls.parse(str(_urls.dsn(server.url)))
    other = Server(url.update_query_dict({"options": "-csearch_path=app,public"}), timeout=60)
    try:
        assert other.facts.for_schema != server.facts.for_schema
    finally:
        other.close()


def test_a_coroutine_that_cannot_run_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise Python warns, in some later test, that it was never awaited."""

    async def connect() -> None: ...

    def refuse() -> None:
        raise ConfigurationError("gevent has patched threads", hint="do not")

    monkeypatch.setattr(portal, "_loop", refuse)
    coroutine = connect()

    with pytest.raises(ConfigurationError):
        portal.run(coroutine, timeout=1)

    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
