"""Digests of everything that determines a schema."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def digest_parts(parts: Iterable[bytes]) -> str:
    """Hash ``parts``, each with its length: moving a byte to the next part changes the digest."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()
