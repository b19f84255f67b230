"""A real browser for the pages that we write: Chromium or Chrome, through WebDriver. No test."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.servers import free_port

STARTING = 60.0  # seconds
NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)
QUIET = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
)


class Browser:
    """A window; ``run`` evaluates JavaScript in it."""

    def __init__(self, port: int, profile: Path, width: int) -> None:
        self._at = f"http://127.0.0.1:{port}/session"
        size = f"window-size={width},900"
        arguments = [f"--{each}" for each in (*QUIET, size, f"user-data-dir={profile}")]
        chrome = {"args": arguments, "binary": PROGRAM}
        logged = {"browser": "ALL"}
        options = {"goog:chromeOptions": chrome, "goog:loggingPrefs": logged}
        wanted = {"capabilities": {"alwaysMatch": options}}
        self._at += f"/{self._post('', wanted)['sessionId']}"

    def open(self, page: Path) -> None:
        self._post("/url", {"url": page.as_uri()})

    def emulate_media(self, *, width: int, scheme: str) -> None:
        """Be a screen of this width, of somebody who prefers "light" or "dark"."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        for command, parameters in (
            ("Emulation.setDeviceMetricsOverride", screen),
            ("Emulation.setEmulatedMedia", media),
        ):
            self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """What pages have complained of since this was asked last."""
        return [each["message"] for each in self._post("/se/log", {"type": "browser"})]

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", {"script": f"return {script}", "args": []})

    def type(self, selector: str, text: str) -> None:
        found = self._post("/element", {"using": "css selector", "value": selector})
        self._post(f"/element/{next(iter(found.values()))}/value", {"text": text})

    def close(self) -> None:
        self._send("DELETE", "", None)

    def _post(self, path: str, body: object) -> Any:
        return self._send("POST", path, body)

    def _send(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._at + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["value"]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or PROGRAM is None:
        pytest.skip("no chromium and chromedriver to look at a page with")
    port = free_port()
    with subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(port)
            browser = Browser(port, tmp_path / "profile", 1400)
            yield browser
            browser.close()
        finally:
            process.terminate()


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + STARTING
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as response:
                if json.load(response)["value"]["ready"]:
                    return
        except OSError:
            assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.05)
