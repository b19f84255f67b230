"""``pg_bind``: sessionmakers and engines of the application, used with a worker's database.

A sessionmaker is bound to the engine or the connection of each test. An engine keeps its own URL
and pool; its connections are closed in the event loop that opened them, before that loop closes.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from pytest_pgtemplate._engines.application_engine import ApplicationEngine
from pytest_pgtemplate._engines.recorded_sessions import emptied
from pytest_pgtemplate._internals.sqlalchemy_sessions import empty_registry, sessionmaker_keywords
from pytest_pgtemplate.errors import ConfigurationError

_SESSIONMAKERS = (sessionmaker, async_sessionmaker)
_SCOPED = (scoped_session, async_scoped_session)
_KINDS = (*_SESSIONMAKERS, *_SCOPED, Engine, AsyncEngine)
_KIND_NAMES = ", ".join(kind.__name__ for kind in _KINDS)
_SAVEPOINTS = {"join_transaction_mode": "create_savepoint"}

Bind = Engine | AsyncEngine | Connection | AsyncConnection


class BoundSessionmaker:
    """A sessionmaker of the application, possibly inside a scoped session."""

    def __init__(self, path: str, target: Any) -> None:
        self._path = path
        self._object = target
        self._scoped = target if isinstance(target, _SCOPED) else None
        self._maker = target if self._scoped is None else target.session_factory
        if not isinstance(self._maker, _SESSIONMAKERS):
            raise _wrong_kind(path, self._maker)
        _refuse_routing(path, self._maker)
        self.is_async = issubclass(self._maker.class_, AsyncSession)

    @contextmanager
    def bound_to(self, bind: Bind) -> Iterator[None]:
        """Bind its sessions to ``bind``. On a connection, a commit only releases a savepoint.

        Raises ConfigurationError afterwards if the application has replaced the sessionmaker.
        """
        is_connection = isinstance(bind, Connection | AsyncConnection)
        with ExitStack() as stack:
            keywords = {"bind": bind, **(_SAVEPOINTS if is_connection else {})}
            stack.enter_context(sessionmaker_keywords(self._maker, keywords))
            stack.enter_context(emptied(self._maker))
            if self._scoped is not None:
                stack.enter_context(empty_registry(self._scoped))
            yield
        if _import_object(self._path) is not self._object:
            raise ConfigurationError(
                f"pg_bind: {self._path} was replaced by another object while the test ran, so the"
                " test may have used another database",
                hint="create it once, when its module is imported, and let the application call"
                " .configure(bind=..) on it",
            )


class Bindings:
    """The objects of ``pg_bind`` for one database."""

    def __init__(
        self, paths: tuple[str, ...], lock_waits_limited: Callable[[], bool] = lambda: False
    ) -> None:
        """Import the application. Raises ConfigurationError for a path that cannot be bound."""
        self.sessionmakers: list[BoundSessionmaker] = []
        self.engines: list[ApplicationEngine] = []
        self._paths = paths
        self._modules_seen = 0
        for path in paths:
            found = _import_object(path)
            if isinstance(found, Engine | AsyncEngine):
                self.engines.append(ApplicationEngine(path, found, lock_waits_limited))
            else:
                self.sessionmakers.append(BoundSessionmaker(path, found))
        self._refuse_second_imports()

    @contextmanager
    def for_test(self, bind: Callable[[bool], Bind]) -> Iterator[None]:
        """Use them during a test. ``bind(is_async)`` returns what a sessionmaker is bound to."""
        with ExitStack() as stack:
            for engine in self.engines:
                stack.callback(engine.end_test)
            for each in self.sessionmakers:
                stack.enter_context(each.bound_to(bind(each.is_async)))
            yield
        self._refuse_second_imports()

    def refuse_other_database(self, database: str) -> None:
        """Raise ConfigurationError if an engine connects to another database than ``database``."""
        for engine in self.engines:
            engine.refuse_other_database(database)

    def _refuse_second_imports(self) -> None:
        """Raise ConfigurationError if a file of ``pg_bind`` was imported under a second name."""
        if len(sys.modules) != self._modules_seen:  # a look at 1,000 takes 0.2 ms
            self._modules_seen = len(sys.modules)
            for path in self._paths:
                _refuse_second_import(path)

    def close(self) -> None:
        """Close the connections of the engines, each in its event loop."""
        for engine in self.engines:
            engine.close()


def _import_object(path: str) -> Any:
    module_name, _, attributes = path.partition(":")
    found: Any = sys.modules.get(module_name) or _import(path, module_name)
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise ConfigurationError(
                f"pg_bind: {path} does not exist: there is no {attribute} in {module_name}",
                hint=_suggestion(module_name),
            ) from None
    return found


def _import(path: str, module_name: str) -> Any:
    try:
        return import_module(module_name)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = [each for each in frames if not each.filename.startswith("<frozen")][-1]
        raise ConfigurationError(
            f"pg_bind: {path} cannot be imported: {type(error).__name__}: {error}"
            f" ({place.filename}:{place.lineno})",
            hint="the tests must be able to import the module: see pytest's option pythonpath",
        ) from error


def _refuse_second_import(path: str) -> None:
    module = sys.modules[path.partition(":")[0]]
    file = _file_of(module)
    for name, other in list(sys.modules.items()):
        if file is not None and other is not module and _file_of(other) == file:
            raise ConfigurationError(
                f"pg_bind: the file of {path} was imported a second time, as {name}, whose sessions"
                " and engines use the application's own database",
                hint=f"import it only as {module.__name__}: see pytest's option pythonpath",
            )


def _file_of(module: object) -> str | None:
    """The file of a module; does not import it if it is lazy."""
    try:
        file: str | None = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:  # sys.modules may contain any object
        return None
    return file


def _suggestion(module_name: str) -> str:
    candidates = [
        f"{module_name}:{name}"
        for name, value in vars(sys.modules[module_name]).items()
        if isinstance(value, _KINDS)
    ]
    return f"the module has {', '.join(candidates)}" if candidates else f"use one of: {_KIND_NAMES}"


def _wrong_kind(path: str, found: Any) -> ConfigurationError:
    return ConfigurationError(
        f"pg_bind: {path} is of type {type(found).__name__}, which cannot be bound",
        hint=f"use one of: {_KIND_NAMES}; a scoped session needs a sessionmaker",
    )


def _refuse_routing(path: str, maker: Any) -> None:
    """Raise ConfigurationError for sessions that choose an engine for each statement."""
    if maker.kw.get("binds"):
        raise ConfigurationError(
            f"pg_bind: {path} has binds=.., which binds some tables to other engines",
            hint="list the engines instead, and set their URLs with pg_env",
        )
    session: type = maker.class_
    methods = [session.get_bind]  # type: ignore[attr-defined]
    if issubclass(session, AsyncSession):
        methods.append((maker.kw.get("sync_session_class") or session.sync_session_class).get_bind)
    if not {*methods} <= {Session.get_bind, AsyncSession.get_bind}:
        raise ConfigurationError(
            f"pg_bind: the sessions of {path} choose their engine themselves: {session.__name__}"
            " overrides get_bind",
            hint="list the engines instead, and set their URLs with pg_env",
        )
