"""Empty the sessions that a test has made, so that the next test can use their objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from pytest_pgtemplate._internals.sqlalchemy_sessions import session_subclass


@contextmanager
def emptied(maker: Any, base: type[Any] | None = None) -> Iterator[None]:
    """Expunge the objects of all sessions of ``maker`` at the end.

    ``base``: the class that a new ``maker`` was made with, if it has made a subclass of that.

    A global may keep such a session alive. Then objects of a shared fixture could not be added to
    the session of the next test.
    """
    made: WeakSet[Any] = WeakSet()
    session_class = base or maker.class_

    def init_and_record(session: Any, *arguments: Any, **keywords: Any) -> None:
        session_class.__init__(session, *arguments, **keywords)
        made.add(session)

    # A subclass, because several sessionmakers may share the class.
    with session_subclass(session_class, init_and_record) as subclass:
        maker.class_ = subclass
        try:
            yield
        finally:
            for session in made:
                getattr(session, "sync_session", session).expunge_all()
