"""Internals of SQLAlchemy's sessionmakers and scoped sessions, tested with 2.0.25 to 2.1.9."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from sqlalchemy.ext.asyncio import async_scoped_session, async_sessionmaker
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry

from pytest_pgtemplate.errors import ConfigurationError

AnySessionmaker = sessionmaker[Any] | async_sessionmaker[Any]
AnyScopedSession = scoped_session[Any] | async_scoped_session[Any]

_EVENTS: list[Any] = list(Session.dispatch._event_descriptors)  # type: ignore[call-overload]

# For the next test, by their base class.
_IDLE_SUBCLASSES: dict[type[Any], list[type[Any]]] = {}


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
    with session_subclass(session, _with_keywords(session.__init__, fixed)) as subclass:
        maker.class_ = subclass
        try:
            yield
        finally:
            maker.kw, maker.class_ = own, session


@contextmanager
def session_subclass(base: type[Any], init: Callable[..., None]) -> Iterator[type[Any]]:
    """Yield a subclass of a class of sessions, with ``init`` as its ``__init__``.

    The first session of a class takes 0.2 ms, in which SQLAlchemy makes an object for each event.
    So a later test gets the same subclass, unless the test has added listeners to it. Nothing
    public lists the listeners of a class.
    """
    idle = _IDLE_SUBCLASSES.setdefault(base, [])
    names = {"__module__": base.__module__, "__qualname__": base.__qualname__}
    subclass: Any = idle.pop() if idle else type(base.__name__, (base,), names)
    subclass.__init__ = init
    try:
        yield subclass
    finally:
        del subclass.__init__
        if not any(map(partial(_has_own_listeners, subclass), _EVENTS)):
            idle.append(subclass)


def _has_own_listeners(session_class: type[Any], session_event: Any) -> bool:
    listeners = session_event._clslevel
    if not (found := listeners.get(session_class)):
        return False
    inherited = [each for base in session_class.__mro__[1:] for each in listeners.get(base, ())]
    return any(each not in inherited for each in found)


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
