"""What was measured: one JSON file, to which each run adds what it lacks."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from subprocess import SubprocessError
from typing import Any, NamedTuple

from processes import cpu_seconds, machine_cpu_seconds

from peers.sides import EVERY_SIDE

OTHERS = "most CPU time of other programs, per second"
BUSY = 0.25  # seconds per second and CPU, above which wall times say little
Place = tuple[str, str, str]  # figure, point and side: a key without its turn


class Key(NamedTuple):
    """A measurement: of a figure, at a point of it, of a side, in a turn."""

    figure: str
    point: str
    side: str
    turn: int


class Spread(NamedTuple):
    """The median of several turns, the least and the greatest."""

    median: float
    least: float
    greatest: float

    @classmethod
    def from_values(cls, values: list[float]) -> Spread:
        return cls(median(values), min(values), max(values))


class Results:
    """Measurements by key; the file is written after each of them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        known = json.loads(file.read_text("utf-8")) if file.exists() else {}
        self.conditions: dict[str, Any] = known.get("conditions", {})
        self.failed: dict[str, str] = {}
        self._values: dict[Key, dict[str, float]] = {
            Key(*each["key"]): each["values"] for each in known.get("measurements", [])
        }

    def measure(
        self, key: Key, call: Callable[[], Mapping[str, float]], server: int | None = None
    ) -> None:
        """Measure once; what an earlier run has measured stays as it is.

        ``server``: the first process of the server that the run uses, if it is known.
        """
        if key in self._values:
            return
        self.conditions |= _conditions()
        began, before = time.perf_counter(), _others_seconds(server)
        try:
            self._values[key] = dict(call())
        except (AssertionError, SubprocessError) as error:  # of one side; the others go on
            self.failed[f"{key.figure}, {key.point}, {key.side}"] = str(error)
        shown = {name: round(value, 2) for name, value in self._values.get(key, {}).items()}
        took = time.perf_counter() - began
        others = (_others_seconds(server) - before) / took
        if server is not None and took > 1:  # the kernel counts in hundredths of a second
            self.conditions[OTHERS] = max(self.conditions.get(OTHERS, 0.0), round(others, 2))
        print(f"{key.figure:12} {key.point:36} {key.side:28} {shown or 'FAILED'} ({took:.0f} s)")
        sys.stdout.flush()
        self.write()

    @property
    def busy(self) -> bool:
        """Whether others used the machine, so that wall times say little."""
        others: float = self.conditions.get(OTHERS, 0.0)
        return others > BUSY * int(self.conditions.get("machine", "1 CPUs").split()[0])

    def describe(self, name: str, conditions: Mapping[str, str]) -> None:
        """Record a server's version and settings beside the measurements."""
        self.conditions[name] = dict(conditions)

    def points(self, figure: str) -> list[str]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(key.point for key in self._values if key.figure == figure))

    def sides(self, figure: str) -> list[str]:
        """Sorted as ``EVERY_SIDE`` is; those that are no plain side stay in their order."""
        names = [side.name for side in EVERY_SIDE]
        found = dict.fromkeys(key.side for key in self._values if key.figure == figure)
        return sorted(found, key=lambda name: names.index(name) if name in names else 0)

    def values(self, place: Place, name: str) -> Iterator[tuple[int, float]]:
        """Each turn and what was measured in it."""
        for key, values in self._values.items():
            if key[:3] == place and name in values:
                yield key.turn, values[name]

    def spread(self, place: Place, name: str) -> Spread | None:
        """Of the measured values; None where nothing was measured."""
        values = [value for _, value in self.values(place, name)]
        return Spread.from_values(values) if values else None

    def ratio(self, place: Place, base: str, name: str) -> Spread | None:
        """To the side ``base``, turn by turn."""
        bases = dict(self.values((*place[:2], base), name))
        values = self.values(place, name)
        ratios = [value / bases[turn] for turn, value in values if turn in bases]
        return Spread.from_values(ratios) if ratios else None

    def write(self) -> None:
        measurements = [{"key": key, "values": values} for key, values in self._values.items()]
        text = {"conditions": self.conditions, "measurements": measurements}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(text, indent=1), "utf-8")


def _others_seconds(server: int | None) -> float:
    """CPU seconds of all processes but the benchmark's and the server's."""
    own = time.process_time() + cpu_seconds(server)
    return machine_cpu_seconds() - own


def _conditions() -> dict[str, Any]:
    versions = {side.distribution: side.version for side in EVERY_SIDE}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} CPUs, {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "versions": {name: version for name, version in versions.items() if version},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    models = re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return models[0] if models else platform.machine()
