"""``pg_env`` in this process: set before any conftest is imported, put back at the end.

The name of the database is known early, the database is made when a test first needs it.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError, EmbeddedServerError

if TYPE_CHECKING:
    from pytest_pgtemplate._urls.server_address import Address


class EnvironmentVariables:
    """The variables of ``pg_env``, for as long as this process runs pytest."""

    def __init__(self) -> None:
        self.urls: list[str] = []  # what was told, password included
        self._original: dict[str, str | None] = {}
        self._values: dict[str, str] = {}
        self._addresses: dict[str, Address] = {}
        self._error: ConfigurationError | None = None

    def set_variables(self, settings: Settings, *, strict: bool) -> None:
        """Set them; again, as a conftest may have started the server.

        Raises EmbeddedServerError, if ``strict``, when there can be none.
        """
        from pytest_pgtemplate._urls import url_templates

        self._addresses = {
            name: _address_of(settings.for_database(name), strict=strict)
            for name in ("", *url_templates.referenced_databases(settings.env))
        }
        self.urls = [address.render() for address in self._addresses.values()]
        self._values = url_templates.render_variables(settings.env, self._addresses)
        for name, value in self._values.items():
            self._original.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def for_migrations(self, settings: Settings, name: str, address: Address) -> dict[str, str]:
        """What they are told: that of the database ``name`` is another, which they migrate."""
        from pytest_pgtemplate._urls import url_templates

        return url_templates.render_variables(settings.env, {**self._addresses, name: address})

    def restore(self) -> None:
        for name, value in self._original.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def record_changes(self) -> None:
        """Remember whether a variable was set again, for the first test that needs a database."""
        try:
            self.refuse_changed_variables()
        except ConfigurationError as error:
            self._error = self._error or error

    def raise_if_changed(self) -> None:
        """Raise ConfigurationError when ``record_changes`` has seen something."""
        if self._error is not None:
            raise self._error

    def refuse_early_readers(self) -> None:
        """Raise ConfigurationError for a module that was imported earlier and has read a URL."""
        for name, value in self._original.items():
            if value is None or "://" not in value or value == self._values[name]:
                continue
            if (holder := _find_holder(value)) is not None:
                raise ConfigurationError(
                    f"{holder} has read {name} before pg_env could set it, and would go on"
                    " with another database",
                    hint="a plugin or -p imports it: import it from conftest.py instead",
                )

    def refuse_changed_variables(self) -> None:
        """Raise ConfigurationError when a variable has been set to another database since."""
        databases = [address.database or "" for address in self._addresses.values()]
        for name, value in self._values.items():
            now = os.environ.get(name) or ""
            if now != value and not any(database in now for database in databases):
                raise ConfigurationError(
                    f"{name} was set again after pg_env had set it, so tests would go on with"
                    " another database",
                    hint="a conftest.py or what it imports does: take that out, or take the"
                    " variable out of pg_env",
                )


def _address_of(settings: Settings, *, strict: bool) -> Address:
    from pytest_pgtemplate._urls import server_address

    server = settings.url or _embedded_url(settings, strict=strict)
    name = database_names.worker(
        settings.template.prefix, settings.identity.run, settings.identity.worker
    )
    return server_address.parse(server).set(database=name)


def _embedded_url(settings: Settings, *, strict: bool) -> str:
    from pytest_pgtemplate import _embedded

    try:
        return _embedded.url_of(*settings.server.embedded)
    except EmbeddedServerError:
        if strict:
            raise
        return "postgresql:///"  # nobody has a database of this name there


def _find_holder(value: str) -> str | None:
    """Where an imported module has ``value``: by a name, or an attribute of what it names.

    It must not wake what is lazy: so ``type(thing)``, not ``isinstance``.
    """
    for module_name, module in list(sys.modules.items()):
        for name, thing in _attributes(module):
            if _is_value(thing, value):
                return f"{module_name}.{name}"
            if not issubclass(type(thing), (type, ModuleType)):
                for inner, each in _attributes(thing):
                    if _is_value(each, value):
                        return f"{module_name}.{name}.{inner}"
    return None


def _attributes(thing: object) -> list[tuple[str, object]]:
    try:
        found = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        return []
    return list(found.items())


def _is_value(thing: object, value: str) -> bool:
    return issubclass(type(thing), str) and thing == value
