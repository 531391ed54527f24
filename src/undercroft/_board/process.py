# SPDX-License-Identifier: Apache-2.0
"""Processes that outlive the command that started them.

A process is known by its number and the time it started, so that a number
that the system has given to another program is never taken for ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_STATE_FIELD = 0
_START_FIELD = 19


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process: its number and its start, in clock ticks since power-on."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """Identify a running process, or return None when there is none."""
        fields = _stat_fields(pid)
        return None if fields is None else cls(pid, int(fields[_START_FIELD]))

    def is_alive(self) -> bool:
        """Tell whether the process still runs."""
        # A child of this very process stays as a zombie until it is reaped.
        with contextlib.suppress(ChildProcessError, OSError):
            os.waitpid(self.pid, os.WNOHANG)
        fields = _stat_fields(self.pid)
        if fields is None or int(fields[_START_FIELD]) != self.start_ticks:
            return False
        return fields[_STATE_FIELD] not in ("Z", "X")

    def wait(self, timeout_seconds: float) -> bool:
        """Wait for the process to end; tell whether it did."""
        deadline = time.monotonic() + timeout_seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def kill(self) -> None:
        """End the process at once."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _stat_fields(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat after the program's name."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name is in parentheses and may itself hold spaces and parentheses.
    return text.rpartition(")")[2].split()
