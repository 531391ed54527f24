# SPDX-License-Identifier: Apache-2.0
"""A client that dies by `kill -9` at any call, and storage that fails under it.

Runs on the host engine, and, sent as text by `tests/attacks`, in the board's guest.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from undercroft._device.client import ModelClient
from undercroft._device.invoker import Reply
from undercroft._device.local import LocalDevice
from undercroft._device.parcel import PageFile
from undercroft._spec import Command


class DyingInvoker:
    """Passes calls on, a page at a time, until the process dies before one or in it."""

    def __init__(self, inner: Any, call: int, *, inside: bool) -> None:
        self._inner = inner
        self._left = call
        self._inside = inside
        self.doomed = False
        self.invocations = 0

    @property
    def buffer(self) -> memoryview:
        """Room for one page or two: many calls."""
        return self._inner.buffer[:8300]

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """Pages stay registered when the process dies: the kernel's business."""
        return self._inner.keep(file, pages, step)

    def invoke(self, command: Command, **more: Any) -> Reply:
        """Enter the secure side, or die."""
        if self._left == 0:
            self.doomed = True
            if self._inside:
                threading.Thread(target=die, args=(0.0005,)).start()
            else:
                die(0)
        self._left -= 1
        return self._inner.invoke(command, **more)

    def close(self) -> None:
        """End the session."""
        self._inner.close()


def die(seconds: float) -> None:
    """End this process as `kill -9` does."""
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at(
    device: Callable[[], LocalDevice],
    sealed: Path,
    license_bytes: bytes,
    x: Any,
    call: int,
    *,
    inside: bool,
) -> bool:
    """Load and infer in another process, which dies at a call.

    Returns:
        Whether it died; False when it had come to its end before.
    """
    child = os.fork()
    if child == 0:
        try:
            invoker = DyingInvoker(device().open(), call, inside=inside)
            ModelClient(invoker, sealed, license_bytes).infer([x])
            if invoker.doomed:
                time.sleep(60)  # at its end before death came
        finally:
            os._exit(0)
    _, code = os.waitpid(child, 0)
    return os.WIFSIGNALED(code)
