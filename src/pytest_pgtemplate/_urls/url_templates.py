"""``pg_env``: environment variables that contain the URL of a database, or parts of it.

    DATABASE_URL                 the URL
    APP_DB_HOST={host}           a template
    ORDERS_URL={orders.url}      a further database
    REDIS_URL=redis://h/{slot}   a number of this process

Pure functions with the standard library only: every run that sets ``pg_env`` imports this module.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from urllib.parse import quote

from pytest_pgtemplate._urls import drivers
from pytest_pgtemplate._urls.server_address import Address

FIELDS = ("url", "host", "port", "name", "user", "password")
NUMBERS = ("worker", "slot")  # of the process; templates of Alembic's attributes have none
HELP = (
    "write NAME, or NAME=template with {url}, {url:driver}, {url:} (no driver), {host}, {port},"
    " {name}, {user} or {password}; for a database in pg_databases: {orders.url}; for other"
    " services: {worker} or {slot}"
)
_NAME = r"[^\s={}\0]+"
_PIECE = r"(?P<text>\{\{|\}\}|[^{}\0]+)|\{((?P<database>\w+)\.)?(?P<field>\w+)(?P<driver>:\w*)?\}"


def parse_entries(entries: Iterable[str], databases: Collection[str]) -> dict[str, str]:
    """Return the template of each variable. Raises ValueError for an invalid entry."""
    templates: dict[str, str] = {}
    for entry in entries:
        name, given, template = entry.partition("=")
        if not re.fullmatch(_NAME, name):
            raise ValueError(f"{name!r} is not a valid variable name: {HELP}")
        if name in templates:
            raise ValueError(f"{name} appears twice: {HELP}")
        templates[name] = template if given else "{url}"
        filled = fill_numbers(templates[name], dict.fromkeys(NUMBERS, 0))
        check_template(filled, databases, constant=filled != templates[name])
    return templates


def check_template(
    template: str, databases: Collection[str] = (), *, constant: bool = False
) -> None:
    """Raise ValueError for an unknown field, or if there is none and ``constant`` is false."""
    fields = [piece for piece in _pieces(template) if piece["field"]]
    wrong = [piece[0] for piece in fields if not _is_known(piece, databases)]
    if wrong:
        raise ValueError(f"unknown field {wrong[0]}: {HELP}")
    if not (fields or constant):
        raise ValueError(f"{template!r} has no field; set constants in conftest.py: {HELP}")


def uses_number(templates: Mapping[str, str], name: str) -> bool:
    """Whether one of ``templates`` has the field ``{worker}`` or ``{slot}``."""
    pieces = chain.from_iterable(map(_pieces, templates.values()))
    return any(piece[0] == f"{{{name}}}" for piece in pieces)


def fill_numbers(template: str, numbers: Mapping[str, int]) -> str:
    """Replace ``{worker}`` and ``{slot}``; other fields stay."""
    values = {f"{{{name}}}": str(number) for name, number in numbers.items()}
    return "".join(values.get(piece[0], piece[0]) for piece in _pieces(template))


def needed_addresses(templates: Mapping[str, str]) -> list[str]:
    """Return the names of all databases in ``templates``; ``""`` is the main database."""
    pieces = chain.from_iterable(map(_pieces, templates.values()))
    return list(dict.fromkeys(piece["database"] or "" for piece in pieces if piece["field"]))


def referenced_databases(templates: Mapping[str, str]) -> list[str]:
    """Return the names of the further databases in ``templates``, without duplicates."""
    pieces = chain.from_iterable(map(_pieces, templates.values()))
    return list(dict.fromkeys(piece["database"] for piece in pieces if piece["database"]))


def referenced_names(template: str, addresses: Mapping[str, Address]) -> set[str]:
    """Return the database names that a value of ``template`` contains."""
    return {
        addresses[piece["database"] or ""].database or ""
        for piece in _pieces(template)
        if piece["field"] in {"url", "name"}
    }


def render_variables(
    templates: Mapping[str, str], addresses: Mapping[str, Address]
) -> dict[str, str]:
    """Return the value of each variable; ``addresses`` has the main database under ``""``."""
    return {name: render_template(template, addresses) for name, template in templates.items()}


def render_template(template: str, addresses: Mapping[str, Address]) -> str:
    """Fill the fields of ``template``. Values inside a URL are percent-encoded."""
    text = ""
    for piece in _pieces(template):
        if not piece["field"]:
            text += piece["text"][0] if piece["text"] in {"{{", "}}"} else piece["text"]
            continue
        address = addresses[piece["database"] or ""]
        if piece["field"] == "url":
            text += _url(address, piece["driver"])
        else:
            value = _part(address, piece["field"])
            text += _quote(piece["field"], value) if "://" in text else value
    return text


def needs_tcp(template: str) -> bool:
    """Whether the reader of the variable may need TCP: few URL parsers support Unix sockets."""
    return any(piece["field"] in {"url", "host", "port"} for piece in _pieces(template))


def _pieces(template: str) -> list[re.Match[str]]:
    pieces, at = [], 0
    pattern = re.compile(_PIECE)
    while at < len(template):
        piece = pattern.match(template, at)
        if piece is None:
            raise ValueError(f"{template!r} cannot be parsed at {template[at:]!r}: {HELP}")
        pieces.append(piece)
        at = piece.end()
    return pieces


def _is_known(piece: re.Match[str], databases: Collection[str]) -> bool:
    if piece["database"] and piece["database"] not in databases:
        return False
    return piece["field"] in FIELDS and (piece["field"] == "url" or piece["driver"] is None)


def _url(address: Address, driver: str | None) -> str:
    """Render the URL. ``driver``: None (as configured), ``:psycopg``, or ``:`` for no driver."""
    if driver is None:
        return drivers.normalize_for_driver(address).render()
    return drivers.for_driver(address, driver[1:] or None).render()


def _part(address: Address, field: str) -> str:
    """Return one part of the address, with libpq's default if the URL omits it."""
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


def _quote(field: str, value: str) -> str:
    return f"[{value}]" if field == "host" and ":" in value else quote(value, safe="")
