# SPDX-License-Identifier: Apache-2.0
"""Calls to Trusted Applications on an emulated board, from tests on the host."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from undercroft import _board, _build

TA_UUID = "8ad4c6e2-9f6b-4c0e-b1a7-5d3b0f7c2a91"
PORT_TA_UUID = "0b5f7a6e-2f0c-4b7f-9d53-7c1f3a54e6d8"
DAMAGED_TA_UUID = "5e1d6a3c-7a0d-4c39-8b34-6d1f0a9c2e57"
ABSENT_TA_UUID = "c0ffee00-7a0d-4c39-8b34-6d1f0a9c2e57"
BOARD_NAME = "device-tests"
"""A board of the tests' own: they restart it and wear its secure storage."""

_CALLS = Path(__file__).with_name("guest_calls.py")
_PORT_TA = Path(__file__).parents[1] / "device" / "port_ta"
_PACKED_LIMIT = 96 * 1024


def build_port_ta() -> Path:
    """Build the TA that hands out the port's functions; return its file."""
    out = _build.BUILD / "port-ta"
    settings = [f"{name}={value}" for name, value in _build.ta_variables().items()]
    done = subprocess.run(
        ["make", "-C", str(_PORT_TA), f"OUT={out}", *settings],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / f"{PORT_TA_UUID}.ta"


def up() -> None:
    """Have the tests' board up, with the current TA and the port's."""
    _build.build("ta")
    port = build_port_ta()
    damaged = port.with_name("damaged.bin")
    content = bytearray(port.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    _board.ensure_up(
        BOARD_NAME,
        extra={
            f"ta/{PORT_TA_UUID}.ta": port,
            f"ta/{DAMAGED_TA_UUID}.ta": damaged,
        },
    )


def sh(command: str, *, timeout_seconds: float = 120) -> str:
    """Run a shell command on the tests' board; it must succeed."""
    code, output = _board.run_command(
        BOARD_NAME, command, timeout_seconds=timeout_seconds
    )
    assert code == 0, output
    return output


def python(source: str, *, timeout_seconds: float = 180) -> str:
    """Run Python source on the tests' board; it must succeed."""
    return sh(
        f"python3 - <<'END-OF-PYTHON'\n{source}\nEND-OF-PYTHON\n",
        timeout_seconds=timeout_seconds,
    )


@dataclass
class Steps:
    """A batch of calls; collect them, then `run` once.

    A session of its own spans the batch, so that the Trusted Application is loaded
    once and not for each session that the batch opens; unless `spanned` is false.
    """

    uuid: str = TA_UUID
    spanned: bool = True
    steps: list[dict[str, Any]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def open(self, session: str = "s") -> int:
        """Open a session; return the step's index."""
        return self._add({"open": session})

    def close(self, session: str = "s") -> int:
        """Close a session."""
        return self._add({"close": session})

    def info(self) -> int:
        """Ask over a session of its own."""
        return self._add({"info": True})

    def call(
        self, command: int, *params: Sequence[Any] | str, session: str = "s"
    ) -> int:
        """Call; absent parameters are of type none."""
        listed = [
            [param] if isinstance(param, str) else list(param) for param in params
        ]
        listed += [["none"]] * (4 - len(listed))
        return self._add({"call": session, "command": int(command), "params": listed})

    def wait(self, name: str) -> int:
        """Stop there until `Running.release`; only for `start`."""
        return self._add({"wait": name})

    def run(self, *, timeout_seconds: float = 180) -> list[dict[str, Any]]:
        """Run all steps on the board; return their answers."""
        return self._answers(python(self._source(), timeout_seconds=timeout_seconds))

    def start(self) -> Running:
        """Run the steps in the background, so that the host can look meanwhile."""
        process = sh(
            f"cat >/run/steps.py <<'END-OF-PYTHON'\n{self._source()}\nEND-OF-PYTHON\n"
            "python3 /run/steps.py >/run/steps.out 2>&1 </dev/null & echo $!"
        )
        return Running(self, int(process.split()[-1]))

    def _source(self) -> str:
        blobs = {name: data.hex() for name, data in self.blobs.items()}
        steps = (
            [{"open": "the batch's own"}, *self.steps] if self.spanned else self.steps
        )
        request = {"uuid": self.uuid, "steps": steps, "blobs": blobs}
        compressed = zlib.compress(json.dumps(request).encode(), 9)
        packed = base64.b64encode(compressed).decode()
        assert len(packed) < _PACKED_LIMIT, "too much for one command line"
        return f"{_CALLS.read_text()}\nmain({packed!r})"

    def _answers(self, output: str) -> list[dict[str, Any]]:
        lines = [line for line in output.splitlines() if line.startswith("answers: ")]
        assert lines, output
        text = zlib.decompress(base64.b64decode(lines[-1].removeprefix("answers: ")))
        answers: list[dict[str, Any]] = json.loads(text)
        if self.spanned:
            first = answers.pop(0)
            assert first == {}, first
        assert len(answers) == len(self.steps)
        return answers

    def _add(self, step: Mapping[str, Any]) -> int:
        self.steps.append(dict(step))
        return len(self.steps) - 1


@dataclass(frozen=True)
class Running:
    """A batch that runs in the background, and waits where it was told to."""

    steps: Steps
    process: int

    def reach(self, name: str) -> None:
        """Wait until the batch waits there."""
        sh(
            f"(while [ ! -e {self._mark(name)} ]; do "
            f"kill -0 {self.process} || {{ cat /run/steps.out; exit 1; }}; "
            "usleep 20000; done)"
        )

    def release(self, name: str) -> None:
        """Let the batch go on."""
        sh(f"rm {self._mark(name)}")

    def _mark(self, name: str) -> str:
        return f"'/run/steps-{self.process}-{name}'"

    def kill(self) -> None:
        """End the client at once, wherever it is."""
        sh(
            f"kill -9 {self.process}; "
            f"while kill -0 {self.process} 2>/dev/null; do usleep 20000; done"
        )

    def answers(self) -> list[dict[str, Any]]:
        """Wait for the end of the batch; return its answers."""
        sh(f"while kill -0 {self.process} 2>/dev/null; do usleep 20000; done")
        # Base64 in one line, longer than a terminal's.
        return self.steps._answers(sh("cat /run/steps.out"))


def secure_log() -> str:
    """Return OP-TEE's log of the tests' board."""
    info = _board.running(BOARD_NAME)
    assert info is not None
    return info.secure_log.read_text(errors="replace")


if __name__ == "__main__":
    up()
    sys.stdout.write(sh(" ".join(sys.argv[1:])))
