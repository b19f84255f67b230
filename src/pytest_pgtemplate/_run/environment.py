"""Set the variables of ``pg_env`` before pytest imports any conftest; restore them at the end.

The URL of the worker's database is known from the start. The database itself is created for the
first test that needs it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate._urls import database_names
from pytest_pgtemplate.errors import ConfigurationError, EmbeddedServerError

if TYPE_CHECKING:
    import pytest

    from pytest_pgtemplate._urls.server_address import Address


class EnvironmentVariables:
    """The variables of ``pg_env`` in this process."""

    def __init__(self) -> None:
        self.urls: list[str] = []  # all URLs in the variables, with passwords
        self._original: dict[str, str | None] = {}
        self._values: dict[str, str] = {}
        self._templates: dict[str, str] = {}
        self._addresses: dict[str, Address] = {}
        self._error: ConfigurationError | None = None

    def set_variables(self, settings: Settings, *, strict: bool) -> None:
        """Set the variables; again after the conftests, which may have started a server.

        If ``strict``, raises EmbeddedServerError if there is no server.
        """
        from pytest_pgtemplate._urls import url_templates

        self._templates = _fill_numbers(settings)
        self._addresses = {
            name: _worker_address(settings.for_database(name), strict=strict)
            for name in url_templates.needed_addresses(self._templates)
        }
        self.urls = [address.render() for address in self._addresses.values()]
        self._values = url_templates.render_variables(self._templates, self._addresses)
        for name, value in self._values.items():
            self._original.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def set_again(self) -> None:
        """Set the variables again, if conftests or tests have changed them."""
        os.environ.update(self._values)

    def for_migrations(self, name: str, address: Address) -> dict[str, str]:
        """Return the variables with ``address`` in place of the database ``name``."""
        from pytest_pgtemplate._urls import url_templates

        return url_templates.render_variables(self._templates, {**self._addresses, name: address})

    def digest(self) -> str:
        """Identify what a build in a child process takes from this process: variables and paths.

        pytest's own variables and those of pg_env differ between workers.
        """
        others = {
            name: value
            for name, value in os.environ.items()
            if name not in self._values and not name.startswith("PYTEST_")
        }
        return hashlib.sha256(repr((sorted(others.items()), sys.path)).encode()).hexdigest()

    def restore(self) -> None:
        for name, value in self._original.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def record_changes(self) -> None:
        """Store an error if a variable has changed, for the first test that needs a database."""
        try:
            self.refuse_changed_variables()
        except ConfigurationError as error:
            self._error = self._error or error

    def raise_if_changed(self) -> None:
        """Raise the ConfigurationError that ``record_changes`` has stored."""
        if self._error is not None:
            raise self._error

    def refuse_early_readers(self, root: Path) -> None:
        """Raise ConfigurationError for a module of the project that has read a variable already."""
        from pytest_pgtemplate._run import early_readers

        for name, value in self._original.items():
            if value == self._values[name]:
                continue
            holder = (
                (early_readers.find_holder(value) if value and "://" in value else None)
                or early_readers.find_settings_field(name)
                or early_readers.find_reader(name, root)
            )
            if holder is not None:
                raise ConfigurationError(
                    f"{holder} has read {name} before pg_env could set it, and would use another"
                    " database",
                    hint="a plugin or -p imports this module: import it in conftest.py instead",
                )

    def refuse_changed_variables(self) -> None:
        """Raise ConfigurationError if a variable now refers to another database."""
        if (error := self.find_change()) is not None:
            raise error

    def find_change(self) -> ConfigurationError | None:
        """Return the error to report if a variable now refers to another database."""
        for name, value in self._values.items():
            now = os.environ.get(name) or ""
            if now != value and not self._is_same_database(name, now):
                return ConfigurationError(
                    f"{name} was changed after pg_env had set it, so tests would use another"
                    " database",
                    hint="a conftest.py, a fixture, a test, or a module that they import, changes"
                    " the variable, for example by load_dotenv(override=True): remove that, or"
                    " remove the variable from pg_env",
                )
        return None

    def _is_same_database(self, variable: str, value: str) -> bool:
        """Whether ``value`` contains the database name of the variable, such as another URL."""
        from pytest_pgtemplate._urls import url_templates

        names = url_templates.referenced_names(self._templates[variable], self._addresses)
        return bool(names) and all(
            re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", value) for name in names
        )


def hide_libpq_variables(config: pytest.Config, settings: Settings) -> None:
    """Hide libpq's variables for the rest of the run if a database is on the embedded server."""
    is_one_set = any(name.startswith("PG") for name in os.environ)
    if is_one_set and settings.uses_embedded:
        from pytest_pgtemplate._urls import libpq_variables

        stack = ExitStack()
        stack.enter_context(libpq_variables.hide())
        config.add_cleanup(stack.close)


def _fill_numbers(settings: Settings) -> dict[str, str]:
    """Return the templates with the numbers of this process."""
    from pytest_pgtemplate._urls import url_templates

    numbers = {"worker": settings.identity.number}
    if url_templates.uses_number(settings.env, "slot"):
        from pytest_pgtemplate._settings import slots

        numbers["slot"] = slots.lease_slot()
    return {
        name: url_templates.fill_numbers(template, numbers)
        for name, template in settings.env.items()
    }


def _worker_address(settings: Settings, *, strict: bool) -> Address:
    from pytest_pgtemplate._urls import for_driver, server_address

    if settings.url is not None:
        address = server_address.parse(settings.url)
    else:
        embedded = server_address.parse(_embedded_url(settings, strict=strict))
        address = for_driver(embedded, settings.server.driver)
    name = database_names.worker(
        settings.template.prefix, settings.identity.run, settings.identity.worker
    )
    return address.set(database=name)


def _embedded_url(settings: Settings, *, strict: bool) -> str:
    from pytest_pgtemplate import _embedded

    try:
        return _embedded.url_of(*settings.server.embedded)
    except EmbeddedServerError:
        if strict:
            raise
        return "postgresql:///"  # a valid URL; the first database test reports the error
