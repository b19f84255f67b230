"""Database names. Pure functions, no I/O.

    template   {prefix}_tpl_{fingerprint[:12]}
    scratch    {prefix}_new_{run}                 a template while it is built
    worker     {prefix}_{run}_gw0, {prefix}_{run}_main
    kept       {prefix}_{run}_gw0_kept1           the database of a failed test (--pg-keep-failed)
    check      {prefix}_{run}_gw0_check           where a worker tests the migrations
    spare      {prefix}_sp_{fingerprint[:12]}_{random}    a clone that no worker uses yet

The prefix of a further database in ``pg_databases`` is the main prefix followed by its name.

PostgreSQL truncates names to 63 bytes without an error. ``prefix_of`` prevents this.
"""

from __future__ import annotations

import hashlib
import os
import re

PREFIX_BYTES = 36  # 63 bytes minus the longest suffix
_RUN = r"[0-9a-f]{8}"
_TEMPLATE = r".+_tpl_[0-9a-f]{12}"
_SPARE = r"(.+)_sp_([0-9a-f]{12})_[0-9a-f]{8}"
_OURS = rf"(.+?)_(tpl_[0-9a-f]{{12}}|sp_[0-9a-f]{{12}}_.{{8}}|new_{_RUN}|{_RUN}_(gw\d+|main).*)"
_UNMARKED = rf".+_(new_{_RUN}|{_RUN}_(gw\d+|main)(_check)?)|{_SPARE}"


def prefix_of(text: str) -> str:
    """Make a database name prefix from any text: lower-case words joined by ``_``.

    Text longer than 36 bytes is truncated and gets a hash, so that two long names stay distinct.
    """
    words = re.sub(r"[\W_]+", "_", text.lower()).strip("_") or "tests"
    raw = words.encode()
    if len(raw) <= PREFIX_BYTES:
        return words
    return (
        f"{raw[: PREFIX_BYTES - 9].decode(errors='ignore')}_{hashlib.sha256(raw).hexdigest()[:8]}"
    )


def template(prefix: str, fingerprint: str) -> str:
    return f"{prefix}_tpl_{fingerprint[:12]}"


def scratch(prefix: str, run: str) -> str:
    return f"{prefix}_new_{run}"


def worker(prefix: str, run: str, worker_id: str) -> str:
    return f"{prefix}_{run}_{worker_id}"


def check(prefix: str, run: str, worker_id: str) -> str:
    return f"{worker(prefix, run, worker_id)}_check"


def kept(name: str, number: int) -> str:
    return f"{name}_kept{number}"


def spare(template: str) -> str:
    """Return a new name for a spare of ``template``."""
    prefix, _, fingerprint = template.rpartition("_tpl_")
    return f"{prefix}_sp_{fingerprint}_{os.urandom(4).hex()}"


def template_of(spare: str) -> str | None:
    """Return the template of a spare, or None if ``spare`` is not the name of a spare."""
    match = re.fullmatch(_SPARE, spare)
    return match and template(match[1], match[2])


def is_template(name: str) -> bool:
    return re.fullmatch(_TEMPLATE, name) is not None


def project_of(name: str) -> str | None:
    """Return the prefix in the name of a template, spare, worker or scratch database."""
    match = re.fullmatch(_OURS, name)
    return match and match[1]


def may_be_unmarked(name: str) -> bool:
    """Whether databases with such a name exist for an instant before their mark is written."""
    return re.fullmatch(_UNMARKED, name) is not None
