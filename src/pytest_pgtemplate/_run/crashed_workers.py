"""At the end of a run, drop the databases of its workers that crashed."""

from __future__ import annotations

from contextlib import ExitStack, suppress

from pytest_pgtemplate._settings import Settings
from pytest_pgtemplate.errors import PgTemplateError


def drop_databases_of_crashed_workers(settings: Settings) -> None:
    from pytest_pgtemplate import _embedded, _urls
    from pytest_pgtemplate._server import Server
    from pytest_pgtemplate._worker import sweep

    with suppress(PgTemplateError), ExitStack() as stack:  # the next run's sweep will do it
        urls = [*settings.all_urls]
        status = _embedded.status(*settings.server.embedded) if settings.uses_embedded else None
        if status is not None and status.running:
            handle = _embedded.acquire(*settings.server.embedded, timeout=settings.server.timeout)
            stack.callback(handle.close)
            urls.append(handle.url)
        for url in urls:
            server = Server(_urls.parse(url), timeout=settings.server.timeout)
            stack.callback(server.close)
            sweep.drop_crashed(server, settings.identity.run)
