"""Write the HTML report: page.html with the style, the scripts and the data inserted."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from pytest_pgtemplate._report import findings
from pytest_pgtemplate._report.recording import RESET, Recording, Test

# In this order: a script runs when the browser loads it, and uses what those before it define.
_SCRIPTS = ("data", "figures", "timeline", "navigation", "theme", "findings", "tests", "start")
_SCALE = 1e4  # times in the page are integers: tenths of a millisecond


class _Numbered(dict[str, int]):
    """Assigns numbers to strings, so that the page contains each string once."""

    def __missing__(self, key: str) -> int:
        self[key] = len(self)
        return self[key]


def write_page(recording: Recording, file: Path) -> None:
    """Write the report. Raises OSError."""
    data = json.dumps(_data(recording), separators=(",", ":")).replace("<", "\\u003c")
    page = _text("page.html")
    for mark, text in (
        ("/* style */", _text("page.css")),
        ("/* script */", "\n".join(_text(f"{name}.js") for name in _SCRIPTS)),
        ("/* data */", data),  # last, because it may contain the other markers
    ):
        page = page.replace(mark, text, 1)
    file.write_text(page, "utf-8")


def _data(recording: Recording) -> dict[str, Any]:
    modules, outcomes, tables = _Numbered(), _Numbered(), _Numbered()
    lanes = {worker: number for number, worker in enumerate(recording.workers)}

    def row(test: Test) -> list[Any]:
        return [
            lanes[test.worker],
            modules[test.module],
            test.nodeid[len(test.module) + 2 :],
            _units(test.start - recording.began),
            *map(_units, (test.setup, test.call, test.teardown, test.reset)),
            outcomes[test.outcome],
            [tables[name] for name in test.tables],
        ]

    tests = [row(test) for test in recording.tests]
    node_ids = {test.nodeid for test in recording.tests}
    events = [
        [
            lanes[event.worker],
            event.kind,
            event.name,
            _units(event.start - recording.began),
            _units(event.seconds),
        ]
        for event in recording.events
        if event.kind != RESET or event.name not in node_ids  # a test's row contains its reset
    ]
    return {
        "scale": _SCALE,
        "began": recording.began,
        "seconds": recording.seconds,
        "facts": recording.facts,
        "workers": recording.workers,
        "modules": list(modules),
        "outcomes": list(outcomes),
        "tables": list(tables),
        "tests": tests,
        "events": events,
        "spent": findings.time_spent(recording),
        "resets": findings.resets(recording)._asdict(),
        "more": findings.one_more_worker(recording),
        "sharing": [fixture._asdict() for fixture in findings.worth_sharing(recording)],
        "written": findings.tables_written(recording),
        "changed": findings.schema_changed(recording),
        "leaked": findings.leaked(recording),
        "layers": findings.layers(recording),
    }


def _units(seconds: float) -> int:
    return round(seconds * _SCALE)


def _text(name: str) -> str:
    return files("pytest_pgtemplate._report").joinpath("html", name).read_text("utf-8")
