"""Internals of pytest, tested with 8.4 to 9.2. Imported in every run of pytest, so it is light."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from _pytest.mark import KeywordMatcher, MarkMatcher
from _pytest.mark.expression import Expression
from _pytest.runner import runtestprotocol


def command_line_value(config: pytest.Config, name: str) -> Any:
    """The value of an option on the command line, None if it is not there.

    ``config.getoption`` raises until pytest has parsed the whole command line, which is after the
    import of the conftests. ``pg_env`` is set before that. ``known_args_namespace`` exists since
    pytest 2.
    """
    return getattr(config.known_args_namespace, name, None)


def distributes_tests(config: pytest.Config) -> bool:
    """Whether pytest-xdist runs the tests in other processes: ``_is_distribution_mode`` there.

    ``--dist`` without ``-n`` or ``--tx`` starts no worker.
    """
    return config.getoption("dist", "no") != "no" and bool(config.getoption("tx", None))


def override_node(item: pytest.Item, fixture: str) -> str:
    """The node id whose definition of ``fixture`` applies to ``item``; "" for a plugin's.

    ``request.getfixturevalue`` sets a fixture up; nothing public only looks it up.
    """
    found = item.session._fixturemanager.getfixturedefs(fixture, item)
    return found[-1].baseid if found else ""


# A call of such a function does not return the value of its fixture.
_NO_VALUE = (
    inspect.isgeneratorfunction,
    inspect.iscoroutinefunction,
    inspect.isasyncgenfunction,
)


def module_of_requested_fixture(item: pytest.Item, fixture: str) -> str:
    """The module whose definition of ``fixture`` applies to ``item``, before a request exists.

    A parameter of the same name is a definition, too, which only ``_fixtureinfo`` has. It has no
    fixtures that a hook has added to ``fixturenames``.
    """
    definition = _requested_fixture(item, fixture)
    return module_of_fixture(definition) if definition is not None else ""


def function_of_requested_fixture(item: pytest.Item, fixture: str) -> Callable[[], object] | None:
    """The function of a fixture that applies to ``item``, if it can be called without a test.

    It has no parameters, its scope is the session, and it returns its value. pytest documents
    neither ``func`` nor ``params``; ``request.getfixturevalue`` needs a running test.
    """
    found = _requested_fixture(item, fixture)
    if (
        found is None
        or found.scope != "session"
        or found.params is not None
        or not inspect.isfunction(found.func)
        or inspect.signature(found.func).parameters
        or any(check(found.func) for check in _NO_VALUE)
    ):
        return None
    return found.func


def _requested_fixture(item: pytest.Item, fixture: str) -> pytest.FixtureDef[Any] | None:
    info = getattr(item, "_fixtureinfo", None)
    found = info and info.name2fixturedefs.get(fixture)
    found = found or item.session._fixturemanager.getfixturedefs(fixture, item)
    return found[-1] if found else None


def is_selected(item: pytest.Item) -> bool:
    """Whether ``-k`` and ``-m`` select ``item``; False if pytest will refuse the expressions.

    pytest deselects after the collection, and no public API decides it earlier. So this
    function uses pytest's own matchers.
    """
    options = item.config.option
    try:
        return all(
            Expression.compile(expression).evaluate(matcher)
            for expression, matcher in (
                (options.keyword.lstrip(), KeywordMatcher.from_item(item)),
                (options.markexpr, MarkMatcher.from_markers(item.iter_markers())),
            )
            if expression
        )
    except (SyntaxError, pytest.UsageError):
        return False


def module_of_fixture(fixture: pytest.FixtureDef[Any]) -> str:
    """The module that defines a fixture: ``FixtureDef`` documents its name and scope only."""
    return getattr(fixture.func, "__module__", None) or ""


def finish_fixture(fixture: pytest.FixtureDef[Any], request: Any) -> None:
    """Tear a fixture down, so that the next test that needs it sets it up again.

    pytest does so when it leaves the scope; there is no public way before that.
    """
    fixture.finish(request)


def is_set_up(fixture: pytest.FixtureDef[Any]) -> bool:
    """Whether pytest has called the function of a fixture, also if it failed.

    Only then does pytest run the finalizers of the fixture. No public attribute says so.
    """
    return fixture.cached_result is not None


def forget_unstarted_fixture(fixture: pytest.FixtureDef[Any], request: Any) -> None:
    """Let pytest forget a fixture that a ``pytest_fixture_setup`` wrapper refused to set up.

    pytest has added finalizers by then. It runs and removes them only if there is a result, and
    asserts that there are none when it sets the fixture up for another test.
    """
    fixture.cached_result = (None, fixture.cache_key(request), None)
    fixture.finish(request)


def requested_by_signature(item: pytest.Function) -> tuple[str, ...]:
    """The fixtures in the signature of a test function, without autouse fixtures and marks."""
    return item._fixtureinfo.argnames


def run_without_report(item: pytest.Item, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """Run setup, call and teardown of ``item`` and return the reports, without showing them.

    The hook ``pytest_runtest_protocol`` is public, but it logs the reports: the terminal shows
    them, and ``pytest --last-failed`` counts them as a run of the test. Only ``runtestprotocol``,
    which implements the hook, takes ``log=False``; pytest-rerunfailures calls it, too.
    """
    return runtestprotocol(item, log=False, nextitem=nextitem)


def set_item_id(item: pytest.Item) -> None:
    """Let ``--last-failed`` find an item that is made by hand: since pytest 9.2 it reads its id."""
    if parts := getattr(item, "id", None):
        item._id = parts.parse(item.nodeid)


def capture_disabled(config: pytest.Config) -> AbstractContextManager[None]:
    """Let the body write to the real terminal. ``capsys.disabled()`` is public, but for tests."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    return capture.global_and_fixture_disabled() if capture else nullcontext()


def map_report_strings(part: Any, change: Callable[[str], str]) -> Any:
    """Apply ``change`` to every string of a report, its ``longrepr`` or sections; in place.

    The representations of tracebacks are not documented. All of them are objects of classes in
    ``_pytest``, whose attributes are strings, lists, tuples and such objects again.
    """
    if isinstance(part, str):
        return change(part)
    if isinstance(part, tuple):
        return tuple(map_report_strings(each, change) for each in part)
    if isinstance(part, list):
        part[:] = [map_report_strings(each, change) for each in part]
    elif type(part).__module__.startswith("_pytest."):
        for name, value in vars(part).items():
            setattr(part, name, map_report_strings(value, change))
    return part


def interrupt_traceback(config: pytest.Config) -> object:
    """The traceback of a Ctrl-C, which ``--full-trace`` shows at the end and no report has."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return getattr(reporter, "_keyboardinterrupt_memo", None)
