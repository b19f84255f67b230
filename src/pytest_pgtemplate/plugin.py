"""The pytest plugin: hooks only."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest

from pytest_pgtemplate import _run, _settings
from pytest_pgtemplate._fixtures import databases, engines, factory
from pytest_pgtemplate._internals.pytest import distributes_tests, interrupt_traceback
from pytest_pgtemplate._run import (
    FAILED,
    RUN,
    EnvironmentVariables,
    Run,
    RunDirectory,
    requests_database,
)
from pytest_pgtemplate._settings import database_options, options, worker_input
from pytest_pgtemplate.errors import PgTemplateError

ENVIRONMENT = pytest.StashKey[EnvironmentVariables]()
STATS = pytest.StashKey[list[dict[str, Any]]]()  # of each worker and database
RECORDER = "pgtemplate-recorder"
MARKER = "pg(isolation, scope): how to isolate this test from the next, and after which scope"
INTERRUPTED = (KeyboardInterrupt, pytest.exit.Exception)


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add_options(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser
) -> Generator[None]:
    """Set pg_env before another plugin imports the application, as pytest-django does here."""
    database_options.add_options(early_config, parser)
    if _settings.wants_environment(early_config):
        _set_environment(early_config, _settings.read(early_config))
    yield


@pytest.hookimpl(specname="pytest_load_initial_conftests")
def pytest_load_initial_conftests_after_plugins(early_config: pytest.Config) -> None:
    """Set pg_env again before conftests import the application: plugins may read .env files."""
    if ENVIRONMENT in early_config.stash:
        early_config.stash[ENVIRONMENT].set_again()


def pytest_configure(config: pytest.Config) -> None:
    settings = _settings.read(config)
    directory = RunDirectory(settings.identity, shared=distributes_tests(config))
    _run.hide_libpq_variables(config, settings)
    environment = _set_environment(config, settings)
    config.stash[RUN] = run = Run(config, settings, directory, environment)
    for plugin in (run.reports, run.limits, _run.FinalReports(config)):
        config.pluginmanager.register(plugin)
    config.stash[STATS] = []
    _register_fixtures(config)
    _register_requested_plugins(config)
    config.addinivalue_line("markers", MARKER)


def pytest_report_header(config: pytest.Config) -> str:
    return _run.header_line(config.stash[RUN].settings, database_options.sources(config))


def pytest_itemcollected(item: pytest.Item) -> None:
    """Implement ``pg_autouse`` and ``pg_bind``: request fixtures before those of any scope."""
    settings = item.config.stash[RUN].settings
    fixtures: list[str] | None = getattr(item, "fixturenames", None)
    if fixtures is not None and (settings.isolation.autouse or settings.bind):
        from pytest_pgtemplate._run.first_fixtures import put_first

        put_first(fixtures, settings)


@pytest.hookimpl(trylast=True, specname="pytest_itemcollected")
def pytest_itemcollected_after_plugins(item: pytest.Item) -> None:
    """Prepare the databases as soon as a test needs one. Other plugins may add fixtures, too."""
    if requests_database(item):
        from pytest_pgtemplate._fixtures import preparation

        prepared = preparation.preparation_of(item.config, item.config.stash[RUN])
        if prepared is not None:
            prepared.begin_with(item)


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[RUN].prepare_collected(session.items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[RUN].prepare_test(item)


@pytest.hookimpl(wrapper=True, specname="pytest_runtest_setup")
def pytest_runtest_setup_once(item: pytest.Item) -> Generator[None]:
    with item.config.stash[RUN].reports.skip_repeated_failures():
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    with request.config.stash[RUN].fixture_setup(fixturedef, request):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    run = item.config.stash[RUN]
    with run.reports.skip_repeated_failures():
        run.require_known_state(item)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """Reset after all fixtures of the test are finalized, so that its sessions are closed."""
    run = item.config.stash[RUN]
    run.begin_teardown(item, nextitem)
    fixture_error: BaseException | None = None
    try:
        yield
    except BaseException as error:
        fixture_error = error
        raise
    finally:  # also if a fixture fails
        errors = [] if isinstance(fixture_error, INTERRUPTED) else run.finish_teardown()
        if errors:
            raise run.reports.failure(*errors) from fixture_error


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    with item.config.stash[RUN].test_protocol(item, nextitem, INTERRUPTED):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _run.redact_report((yield), collector.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run, error = item.config.stash[RUN], call.excinfo and call.excinfo.value
    run.reports.sign_report(report, error)
    if report.failed:
        from pytest_pgtemplate._run.error_sections import error_sections
        from pytest_pgtemplate._run.failure_section import failure_section

        item.stash[FAILED] = True
        if call.when != "teardown" and (text := failure_section(run, error)):
            report.sections.append(("pgtemplate", text))
        if error is not None:
            report.sections += error_sections(error)
    return _run.redact_report(report, item.config)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Report errors that made tests skip and that no report shows: the run must not be green."""
    config = session.config
    try:
        done = yield
    finally:
        config.stash[RUN].close_resources()
    if not hasattr(config, "workerinput"):
        missing = config.stash[RUN].reports.missing_reports(is_red=session.testsfailed > 0)
        for report in list(missing):
            config.hook.pytest_runtest_logreport(report=report)
    return done


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[RUN].close_resources()  # of an interrupted run
    _run.redact(interrupt_traceback(session.config), session.config)
    stats = [database.as_dict() for database in session.config.stash[RUN].stats]
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["pgtemplate"] = stats
    else:
        session.config.stash[STATS] += stats


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    message = _settings.for_workers(config.stash[RUN].settings)
    config.pluginmanager.register(worker_input.WorkerInputSender(message))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """Hook of xdist: a worker has started, and may build or wait."""
    node.config.stash[RUN].progress.show()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Hook of xdist: a worker has ended. A crashed worker has no ``workeroutput``."""
    node.config.stash[RUN].crashed |= error is not None
    node.config.stash[STATS] += getattr(node, "workeroutput", {}).get("pgtemplate", ())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    stats = config.stash[STATS]
    recorder = config.pluginmanager.get_plugin(RECORDER)
    lines = list(_run.summary_lines(stats, config.stash[RUN].settings)) if stats else []
    if recorder is not None:
        lines += recorder.finish(_run.report_facts(stats))
    for line in lines:
        terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    if run is None or hasattr(config, "workerinput"):
        return
    run.directory.remove()
    if run.crashed:
        from pytest_pgtemplate._run.crashed_workers import drop_databases_of_crashed_workers

        drop_databases_of_crashed_workers(run.settings)


def _set_environment(config: pytest.Config, settings: _settings.Settings) -> EnvironmentVariables:
    """Set pg_env. Called twice: before pytest imports the conftests, and after."""
    early = ENVIRONMENT not in config.stash
    environment = config.stash.setdefault(ENVIRONMENT, EnvironmentVariables())
    if early:
        config.add_cleanup(environment.restore)
    if not settings.env:
        return environment
    # Not in a worker: xdist would restart a worker that raises UsageError, again and again.
    may_raise = settings.identity.worker == "main"
    try:
        if not early:
            environment.refuse_changed_variables() if may_raise else environment.record_changes()
        environment.set_variables(settings, strict=may_raise and not early)
        if early and may_raise:
            environment.refuse_early_readers(config.rootpath)
    except PgTemplateError as error:
        raise pytest.UsageError(str(error)) from None
    return environment


def _register_fixtures(config: pytest.Config) -> None:
    modules = [databases, engines]
    if config.stash[RUN].settings.bind:
        from pytest_pgtemplate._fixtures import bindings

        modules.append(bindings)
        config.pluginmanager.register(bindings.LateBindings(config.stash[RUN].settings.bind))
    if config.stash[RUN].settings.check.enabled and not distributes_tests(config):
        from pytest_pgtemplate._check import items

        config.pluginmanager.register(items, "pgtemplate-check")
        modules.append(items)
    try:
        for plugin in factory.make_plugins(("", *config.stash[RUN].settings.databases), modules):
            config.pluginmanager.register(plugin)
    except PgTemplateError as error:
        raise pytest.UsageError(f"pg_databases: {error}") from None


def _register_requested_plugins(config: pytest.Config) -> None:
    """Register plugins that not every run uses. Some are slow to import."""
    settings = config.stash[RUN].settings
    if settings.output.records:
        from pytest_pgtemplate._report import recorder

        config.pluginmanager.register(recorder.Recorder(config, config.stash[RUN]), RECORDER)
    if settings.output.log_sql:
        from pytest_pgtemplate._report import sql_log

        redact = partial(_run.redact, config=config)
        config.pluginmanager.register(sql_log.SqlLog(redact), "pgtemplate-sql-log")
