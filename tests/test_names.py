"""Names: never too long, never two in one, and quoted so that any text comes through."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_pgtemplate._server import Server
from pytest_pgtemplate._server.quoting import quote_identifier, quote_literal
from pytest_pgtemplate._urls import database_names
from support.projects import query

LONGEST = 63  # bytes: PostgreSQL cuts what is longer, and says nothing

no_nul = st.text(st.characters(codec="utf-8", exclude_characters="\0"))


@given(no_nul)
@example("")
@example("x" * 100)
@example("ü" * 30)
@example("İ" * 30)
def test_every_name_fits(text: str) -> None:
    prefix = database_names.prefix_of(text)
    for name in (
        database_names.template(prefix, "0123456789abcdef"),
        database_names.scratch(prefix, "01234567"),
        database_names.worker(prefix, "01234567", "gw9999"),
        database_names.worker(prefix, "01234567", "main"),
    ):
        assert prefix
        assert len(name.encode()) <= LONGEST


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        ("shop", "shop"),
        ("My Shop-API.v2", "my_shop_api_v2"),
        ('Zoë\'s "Shop"', "zoë_s_shop"),
        ("__init__", "init"),
        ("", "tests"),
        ("!?", "tests"),
    ],
)
def test_a_prefix_is_readable(text: str, prefix: str) -> None:
    assert database_names.prefix_of(text) == prefix


def test_two_long_texts_stay_two_prefixes() -> None:
    first, second = "a" * 80 + "1", "a" * 80 + "2"
    assert database_names.prefix_of(first) != database_names.prefix_of(second)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop_0a1b2c3d_gw0", True),
        ("shop_0a1b2c3d_gw12", True),
        ("shop_0a1b2c3d_main", True),
        ("shop_new_0a1b2c3d", True),
        ("shop", False),
        ("shop_tpl_0123456789ab", False),
        ("shop_0a1b2c3d_gw", False),
        ("shop_0a1b2c3d_gw0_backup", False),
        ("shop_new_20240101_final", False),
        ("shop_new_2024010", False),
        ("_new_0a1b2c3d", False),
        ("shop_new_0a1b2c3d\n", False),
    ],
)
def test_only_whole_names_are_born_unmarked(name: str, expected: bool) -> None:
    assert database_names.may_be_unmarked(name) is expected


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_quoted_text_comes_back_as_it_was(server: Server, conforming: str) -> None:
    nasty = """it's "quoted" \\ and \\' $1 %s {} ; -- ü\n"""
    # ``literal`` is a value, ``quote`` the name of a column.
    sql = f"SELECT {quote_literal(nasty)} AS {quote_identifier(nasty.strip())}"
    url = server.url.update_query_dict({"standard_conforming_strings": conforming})
    row = query(url, sql)[0]
    assert dict(row) == {nasty.strip(): nasty}
