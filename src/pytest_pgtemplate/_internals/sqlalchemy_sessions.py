"""Internals of SQLAlchemy's sessionmakers and scoped sessions, tested with 2.0.25 to 2.1.9."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any

from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry

from pytest_pgtemplate.errors import ConfigurationError

AnySessionmaker = sessionmaker[Any] | async_sessionmaker[Any]
AnyScopedSession = scoped_session[Any] | async_scoped_session[Any]


@contextmanager
def sessionmaker_keywords(maker: AnySessionmaker, fixed: Mapping[str, Any]) -> Iterator[None]:
    """Let a sessionmaker use the keywords ``fixed``, also if the application configures it again.

    ``configure(bind=..)`` is public, but no public API removes or reads a keyword, and an
    application that calls ``configure`` when it starts would undo the call of the plugin. So ``kw``
    is replaced, the dictionary that ``configure`` updates and that each session is made from.
    """
    own: dict[str, Any] = maker.kw
    session: Any = maker.class_
    maker.kw = _FixedKeywords(own, fixed)
    # A subclass, because several sessionmakers may share the class.
    init = _with_keywords(session.__init__, fixed)
    maker.class_ = type(session.__name__, (session,), {"__init__": init})
    try:
        yield
    finally:
        maker.kw, maker.class_ = own, session


def _with_keywords(init: Any, fixed: Mapping[str, Any]) -> Any:
    """Let a call of the sessionmaker not replace the keywords either: ``Session(bind=..)``."""

    @wraps(init)
    def with_keywords(session: Any, *arguments: Any, **given: Any) -> None:
        if given.get("binds"):
            raise ConfigurationError(
                "pg_bind: the application has configured a sessionmaker with binds=.., which binds"
                " some tables to other engines",
                hint="list the engines in pg_bind instead, and set their URLs with pg_env",
            )
        init(session, *arguments, **{**given, **fixed})

    return with_keywords


class _FixedKeywords(dict[str, Any]):
    """The keywords of the application, with some that it cannot change now."""

    def __init__(self, own: dict[str, Any], fixed: Mapping[str, Any]) -> None:
        super().__init__({**own, **fixed})
        self._own, self._fixed = own, fixed

    def update(self, *given: Any, **keywords: Any) -> None:
        self._own.update(*given, **keywords)
        super().update({**self._own, **self._fixed})


@contextmanager
def empty_registry(scoped: AnyScopedSession) -> Iterator[None]:
    """Let a scoped session begin without sessions, and forget those that it has made.

    ``remove`` is public, but it removes the session of one scope only: of this thread or task.
    """
    own: Any = scoped.registry
    if isinstance(own, ThreadLocalRegistry):
        scoped.registry = ThreadLocalRegistry(own.createfunc)
    else:
        scoped.registry = ScopedRegistry(own.createfunc, own.scopefunc)
    try:
        yield
    finally:
        scoped.registry = own
