"""``pg_env``: environment variables that tell an application where its database is.

    DATABASE_URL                 the URL
    APP_DB_HOST={host}           a template
    ORDERS_URL={orders.url}      of a further database

Pure functions of text, with the standard library alone: they run in every run that sets ``pg_env``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from urllib.parse import quote

from pytest_pgtemplate._urls import drivers
from pytest_pgtemplate._urls.server_address import Address

FIELDS = ("url", "host", "port", "name", "user", "password")
HELP = (
    "write NAME, or NAME=template with one of {url}, {url:driver}, {url:} (no driver),"
    " {host}, {port}, {name}, {user}, {password}; of a database in pg_databases: {orders.url}"
)
_NAME = r"[^\s={}\0]+"
_PIECE = r"(?P<text>\{\{|\}\}|[^{}\0]+)|\{((?P<database>\w+)\.)?(?P<field>\w+)(?P<driver>:\w*)?\}"


def parse_entries(entries: Iterable[str], databases: Collection[str]) -> dict[str, str]:
    """The template of each variable. Raises ValueError for what cannot be used."""
    templates: dict[str, str] = {}
    for entry in entries:
        name, given, template = entry.partition("=")
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"{name!r} is no name of a variable: {HELP}")
        if name in templates:
            raise ValueError(f"{name} is there twice: {HELP}")
        templates[name] = template if given else "{url}"
        check_template(templates[name], databases)
    return templates


def check_template(
    template: str, databases: Collection[str] = (), *, constant: bool = False
) -> None:
    """Raise ValueError unless ``template`` can be filled, and has a field or may be constant."""
    fields = [piece for piece in _pieces(template) if piece["field"]]
    wrong = [piece[0] for piece in fields if not _is_known(piece, databases)]
    if wrong:
        raise ValueError(f"has no field {wrong[0]}: {HELP}")
    if not (fields or constant):
        raise ValueError(f"{template!r} names no field; conftest.py can set a constant: {HELP}")


def referenced_databases(templates: Mapping[str, str]) -> list[str]:
    """The further databases that they tell of, each once."""
    pieces = chain.from_iterable(map(_pieces, templates.values()))
    return list(dict.fromkeys(piece["database"] for piece in pieces if piece["database"]))


def render_variables(
    templates: Mapping[str, str], addresses: Mapping[str, Address]
) -> dict[str, str]:
    """The value of each variable, by the addresses of the databases; the main one is ``""``."""
    return {name: render_template(template, addresses) for name, template in templates.items()}


def render_template(template: str, addresses: Mapping[str, Address]) -> str:
    """Fill the fields; a value that lands in a URL is quoted for it."""
    text = ""
    for piece in _pieces(template):
        address = addresses[piece["database"] or ""]
        if piece["field"] == "url":
            text += _url(address, piece["driver"])
        elif piece["field"]:
            value = _part(address, piece["field"])
            text += _quoted(piece["field"], value) if "://" in text else value
        else:
            text += piece["text"][0] if piece["text"] in {"{{", "}}"} else piece["text"]
    return text


def needs_tcp(template: str) -> bool:
    """Whether whoever reads this may connect by TCP only: few who parse a URL know sockets."""
    return any(piece["field"] in {"url", "host", "port"} for piece in _pieces(template))


def _pieces(template: str) -> list[re.Match[str]]:
    pieces, at = [], 0
    pattern = re.compile(_PIECE)
    while at < len(template):
        piece = pattern.match(template, at)
        if piece is None:
            raise ValueError(f"{template!r} cannot be read from {template[at:]!r} on: {HELP}")
        pieces.append(piece)
        at = piece.end()
    return pieces


def _is_known(piece: re.Match[str], databases: Collection[str]) -> bool:
    if piece["database"] and piece["database"] not in databases:
        return False
    return piece["field"] in FIELDS and (piece["field"] == "url" or piece["driver"] is None)


def _url(address: Address, driver: str | None) -> str:
    """``driver``: None for the one that was configured, ``:psycopg``, or ``:`` for none."""
    if driver is None:
        return drivers.normalize_for_driver(address).render()
    return drivers.for_driver(address, driver[1:] or None).render()


def _part(address: Address, field: str) -> str:
    """As libpq does where the URL says nothing."""
    match field:
        case "host":
            return address.host_and_port[0] or "localhost"
        case "port":
            return str(address.host_and_port[1])
        case "name":
            return address.database or ""
        case "user":
            return address.username or _current_user()
        case _:
            return address.password or ""


def _current_user() -> str:
    from getpass import getuser

    return getuser()


def _quoted(field: str, value: str) -> str:
    return f"[{value}]" if field == "host" and ":" in value else quote(value, safe="")
