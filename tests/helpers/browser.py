# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven by the DevTools protocol over a pair of pipes.

No driver program and no library for it: messages are JSON with a NUL at the end.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
VARIABLE = "UNDERCROFT_CHROMIUM"
_SECONDS = 60.0


class BrowserPage:
    """One page, and what happened in it."""

    def __init__(self, read_end: int, write_end: int) -> None:
        self._read_end, self._write_end = read_end, write_end
        self._number = 0
        self._rest = b""
        self._session: str | None = None
        self.requests: list[str] = []
        self.messages: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + _SECONDS
        while True:
            found = self._receive(ends)
            if found.get("id") == self._number:
                assert "error" not in found, (method, found["error"])
                result: dict[str, Any] = found["result"]
                return result
            self._note(found)

    def goto(self, url: str) -> None:
        """Load a page."""
        self.call("Page.navigate", url=url)
        self.until(
            "document.readyState === 'complete' && location.href !== 'about:blank'"
        )

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, and return its value; an exception as its text."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            return answer["exceptionDetails"]["exception"]["description"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until JavaScript says true."""
        ends = time.monotonic() + _SECONDS
        while self.run(expression) is not True:
            assert time.monotonic() < ends, (
                expression,
                self.run("document.body.innerText"),
            )
            time.sleep(0.05)

    def screenshot(self, path: Path) -> None:
        """Write what is seen to a PNG."""
        data = self.call("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))

    def _receive(self, ends: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select(
                [self._read_end], [], [], ends - time.monotonic()
            )
            assert ready, "the browser does not answer"
            data = os.read(self._read_end, 1 << 16)
            assert data, "the browser has ended"
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    def _note(self, found: dict[str, Any]) -> None:
        parameters = found.get("params", {})
        match found.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Log.entryAdded":
                self.messages.append(parameters["entry"]["text"])
            case "Runtime.consoleAPICalled":
                self.messages.append(str(parameters["args"]))
            case "Runtime.exceptionThrown":
                self.messages.append(str(parameters["exceptionDetails"]))


@contextmanager
def browser() -> Iterator[BrowserPage]:
    """Run a browser until the block ends."""
    program = os.environ.get(VARIABLE) or next(
        filter(None, map(shutil.which, NAMES)), ""
    )
    assert program, (
        "no Chromium here: apt-get install chromium-headless-shell, "
        f"or name one in {VARIABLE}"
    )
    folder = tempfile.mkdtemp(prefix="undercroft-browser-")
    to_browser, write_end = _pipe()
    read_end, from_browser = _pipe()
    # It reads from descriptor 3 and writes to 4. Not by sh: its descriptors have one
    # digit, and both pipes lie above these.
    command = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        [
            *("bash", "-c", command, "bash", program, "--headless"),
            *("--remote-debugging-pipe", f"--user-data-dir={folder}"),
            *("--no-first-run", "--no-default-browser-check", "--disable-gpu"),
            *("--disable-background-networking", "--disable-component-update"),
            *("--disable-dev-shm-usage", "--window-size=1280,800"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield BrowserPage(read_end, write_end)
    finally:
        process.kill()
        process.wait()
        os.close(read_end)
        os.close(write_end)
        shutil.rmtree(folder, ignore_errors=True)


def _pipe() -> tuple[int, int]:
    ends = []
    for low in os.pipe():
        ends.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(low)
    return ends[0], ends[1]
