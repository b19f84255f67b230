"""Find out which URL an env.py accepts: one with an async driver, or one with a sync driver."""

from __future__ import annotations

import hashlib
import io
import re
import tokenize
from contextlib import suppress
from pathlib import Path

from sqlalchemy.engine import URL

from pytest_pgtemplate import _urls
from pytest_pgtemplate.errors import ConfigurationError

ASYNC, SYNC = "async", "sync"


def reads_connection(source: bytes) -> bool:
    """Whether env.py takes a connection from ``config.attributes``, as in Alembic's cookbook."""
    pattern = rb"""attributes\s*(\[|\.get\()\s*['"]connection['"]"""
    return re.search(pattern, source) is not None


def urls_to_try(url: URL, source: bytes, cache: Path | None) -> dict[str, URL]:
    """Return the URL with an async and with a sync driver, the more likely one first.

    ``source``: the text of env.py. ``cache``: the directory with the kinds that worked in earlier
    builds. Raises ConfigurationError if the more likely driver cannot be used.
    """
    first = _stored_kind(source, cache) or (ASYNC if _has_async_names(source) else SYNC)
    found = {}
    for kind in (first, ASYNC if first == SYNC else SYNC):
        try:
            found[kind] = _urls.async_url(url) if kind == ASYNC else sync_url(url)
        except ConfigurationError:
            if kind == first:
                raise
    return found


def sync_url(url: URL) -> URL:
    """Return the URL for a sync env.py; ``url`` itself if no sync driver is installed."""
    try:
        found = _urls.sync_url(url)
    except ConfigurationError:
        return url
    if _urls.connect_args(url, _urls.driver_name(found)):
        raise ConfigurationError(
            "pg_url sets TLS or options, which env.py cannot pass to pg8000: a URL for this driver"
            " has no parameters for them",
            hint="pip install 'psycopg[binary]', or let an async env.py use asyncpg",
        )
    return found


def store_kind(kind: str, source: bytes, cache: Path | None) -> None:
    """Store the kind of driver that worked, for the next build. Errors are ignored."""
    if cache is not None:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            _cache_file(source, cache).write_text(kind, "utf-8")


def _stored_kind(source: bytes, cache: Path | None) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        kind = _cache_file(source, cache).read_text("utf-8") if cache else None
        return kind if kind in (ASYNC, SYNC) else None
    return None


def _cache_file(source: bytes, cache: Path) -> Path:
    return cache / f"{hashlib.sha256(source).hexdigest()[:32]}.driver"


def _has_async_names(source: bytes) -> bool:
    """Whether a name in env.py contains "async"; comments, strings and "asyncpg" do not count."""
    with suppress(SyntaxError, tokenize.TokenError):
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
        names = (token.string for token in tokens if token.type == tokenize.NAME)
        return any(re.search("async(?!pg)", name) for name in names)
    return False
