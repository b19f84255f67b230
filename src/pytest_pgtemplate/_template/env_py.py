"""What an env.py needs: told from its text, and from what it has accepted before."""

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
    """Whether it takes a connection from ``config.attributes``, as Alembic's cookbook has it."""
    pattern = rb"""attributes\s*(\[|\.get\()\s*['"]connection['"]"""
    return re.search(pattern, source) is not None


def urls(url: URL, source: bytes, cache: Path | None) -> dict[str, URL]:
    """The URL with drivers of the kinds ``ASYNC`` and ``SYNC``; first the one that seems to suit.

    Raises ConfigurationError when that one cannot be used.
    """
    first = _remembered(source, cache) or (ASYNC if _speaks_async(source) else SYNC)
    found = {}
    for kind in (first, ASYNC if first == SYNC else SYNC):
        try:
            found[kind] = _urls.async_url(url) if kind == ASYNC else sync_url(url)
        except ConfigurationError:
            if kind == first:
                raise
    return found


def sync_url(url: URL) -> URL:
    """The URL for a sync env.py; the one that is given when no sync driver is installed."""
    try:
        found = _urls.sync_url(url)
    except ConfigurationError:
        return url
    if _urls.connect_args(url, _urls.driver_name(found)):
        raise ConfigurationError(
            "pg_url asks for TLS or options, of which env.py could tell pg8000 nothing: a URL of"
            " this driver has no place for them",
            hint="pip install 'psycopg[binary]', or let an async env.py use asyncpg",
        )
    return found


def remember(kind: str, source: bytes, cache: Path | None) -> None:
    """Keep what it accepted, for the next build. It is never worth an error."""
    if cache is not None:
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
            _memory(source, cache).write_text(kind, "utf-8")


def _remembered(source: bytes, cache: Path | None) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        kind = _memory(source, cache).read_text("utf-8") if cache else None
        return kind if kind in (ASYNC, SYNC) else None
    return None


def _memory(source: bytes, cache: Path) -> Path:
    return cache / f"{hashlib.sha256(source).hexdigest()[:32]}.driver"


def _speaks_async(source: bytes) -> bool:
    """Whether a name in it does: not a comment or a string, and not the name of asyncpg."""
    with suppress(SyntaxError, tokenize.TokenError):
        tokens = list(tokenize.tokenize(io.BytesIO(source).readline))
        names = (token.string for token in tokens if token.type == tokenize.NAME)
        return any(re.search("async(?!pg)", name) for name in names)
    return False
