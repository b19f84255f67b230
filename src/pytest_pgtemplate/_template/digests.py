"""Digests of what decides a schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def digest_parts(parts: Iterable[bytes]) -> str:
    """Each is preceded by its length, so that moving a byte from one to the next shows."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
