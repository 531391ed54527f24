# SPDX-License-Identifier: Apache-2.0
"""Watches a board come up and names the first thing that goes wrong.

Bytes of the console go in; the stage reached, or an error of its own class,
comes out. Nothing here sleeps or knows about QEMU.
"""

from __future__ import annotations

import re
from collections import deque
from enum import IntEnum

from undercroft._board.failures import (
    AgentFailedError,
    KernelPanicError,
    SecureWorldMissingError,
)
from undercroft.errors import HarnessError

_PANIC = re.compile(r"Kernel panic - not syncing: (.*)")
# The words of guest/initramfs.sh and guest/init.sh.
_MARK = re.compile(r"undercroft-init: (?P<word>[a-z-]+)(?: (?P<detail>.*))?$")
_LONGEST_LINE = 4096
_KEPT_LINES = 200


class Stage(IntEnum):
    """How far a board has come, in order."""

    POWER_ON = 0
    LINUX = 1
    TEE = 2
    NO_AGENT = 3
    """Up, and the payload holds no agent to wait for."""
    AGENT_STARTING = 4


STAGE_TEXT = {
    Stage.POWER_ON: "firmware and OP-TEE are starting",
    Stage.LINUX: "Linux is starting",
    Stage.TEE: "the secure world answers",
    Stage.NO_AGENT: "up, without an agent",
    Stage.AGENT_STARTING: "the agent is starting",
}


class BootWatch:
    """Reads the console of a starting board.

    ``stage`` only goes up. The first failure wins: once ``feed`` has raised,
    it raises the same error again.
    """

    def __init__(self) -> None:
        self.stage = Stage.POWER_ON
        self.failure: HarnessError | None = None
        self._partial = ""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def feed(self, data: bytes) -> Stage:
        """Take in console bytes and return the stage reached.

        Raises:
            KernelPanicError: Linux panicked.
            SecureWorldMissingError: Linux found no TEE.
            AgentFailedError: The agent ended.
            HarnessError: A disk could not be mounted.
        """
        *lines, self._partial = (
            self._partial + data.decode("utf-8", "replace").replace("\r", "")
        ).split("\n")
        self._partial = self._partial[-_LONGEST_LINE:]
        for line in lines:
            self._lines.append(line)
            if self.failure is None:
                self._read(line)
        if self.failure is not None:
            raise self.failure
        return self.stage

    def last_lines(self, count: int = 15) -> str:
        """Return the last non-empty lines of the console."""
        lines = [line for line in (*self._lines, self._partial) if line.strip()]
        return "\n".join(lines[-count:])

    def _read(self, line: str) -> None:
        if "Booting Linux on physical CPU" in line:
            self._reach(Stage.LINUX)
        panic = _PANIC.search(line)
        if panic:
            self.failure = KernelPanicError(
                f"the board's Linux panicked: {panic[1]}\n{self.last_lines()}",
                hint="read the whole console with: undercroft board log",
            )
        mark = _MARK.search(line)
        if mark:
            self._read_mark(mark["word"], mark["detail"] or "")

    def _read_mark(self, word: str, detail: str) -> None:
        if word == "tee-ready":
            self._reach(Stage.TEE)
        elif word == "agent-starting":
            self._reach(Stage.AGENT_STARTING)
        elif word == "agent-absent":
            self._reach(Stage.NO_AGENT)
        elif word == "tee-missing":
            self.failure = SecureWorldMissingError(
                f"Linux on the board found no OP-TEE\n{self.last_lines()}",
                hint="read what OP-TEE said with: undercroft board log --secure",
            )
        elif word == "agent-ended":
            self.failure = AgentFailedError(
                f"the agent on the board ended with code {detail} while starting",
                hint="read why with: undercroft board log --agent",
            )
        elif word == "disk-failed":
            self.failure = HarnessError(
                f"the board could not mount its {detail} disk\n{self.last_lines()}",
                hint="a disk image may be damaged: undercroft board down --wipe "
                "makes the state disk anew, undercroft board build --refresh the "
                "others",
            )

    def _reach(self, stage: Stage) -> None:
        self.stage = max(self.stage, stage)
