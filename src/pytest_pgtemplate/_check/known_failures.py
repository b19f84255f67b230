"""Revisions that failed their check, stored in the user's cache until a file changes.

The mark of a template stores which revisions passed. This module stores the failures, with their
texts. Both use the same digest: of the file of the revision, and of everything that it depends on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from pytest_pgtemplate._check.verdicts import Verdict

_REMEMBERED = "\n  (result of an earlier check of the same files; --pg-rebuild checks them again)"


class KnownFailures:
    """``keys`` are the digests, by the names of the revisions."""

    def __init__(self, directory: Path, keys: Mapping[str, str]) -> None:
        self._directory = directory
        self._keys = keys

    def find(self, names: Iterable[str]) -> dict[str, Verdict]:
        """Return the verdicts of the revisions that are known to fail."""
        found = {}
        for name in names:
            with suppress(OSError, ValueError, TypeError):  # there is none, or it is incomplete
                text = self._file(name).read_text("utf-8")
                found[name] = Verdict("failed", f"{json.loads(text)['text']}{_REMEMBERED}")
        return found

    def record(self, verdicts: Mapping[str, Verdict]) -> None:
        """Store the failures among ``verdicts``, forget what did not fail. Errors are ignored."""
        for name, verdict in verdicts.items():
            if name not in self._keys:
                continue
            with suppress(OSError):
                if verdict.outcome != "failed" or verdict.transient:
                    self._file(name).unlink(missing_ok=True)
                else:
                    self._directory.mkdir(parents=True, exist_ok=True)
                    whole = self._file(name).with_suffix(".new")
                    whole.write_text(json.dumps({"text": verdict.text}), "utf-8")
                    whole.replace(self._file(name))

    def _file(self, name: str) -> Path:
        return self._directory / f"{self._keys[name]}.json"
