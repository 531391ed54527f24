# SPDX-License-Identifier: Apache-2.0
"""Run the tests on the emulated board beside all others.

A board is one busy process of QEMU: what it takes does not add to what the rest
takes on a machine with two cores. Each half is an ordinary run of pytest; what
the board's half says is kept and shown when the other is done.

    python tools/run_tests.py [pytest arguments]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USUAL = "not exhaustive and not zoo and not load and not attacks"
HALVES = {
    "on the emulated board": f"board and {USUAL}",
    "everything else": f"not board and {USUAL}",
}


def start(marks: str, arguments: list[str], output: int | None) -> subprocess.Popen:
    """Start pytest on the tests with these marks."""
    command = [sys.executable, "-m", "pytest", "-m", marks, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT if output else None
    )


def main(arguments: list[str]) -> int:
    """Run both halves; the exit code is that of the first that failed."""
    (board_name, board_marks), (rest_name, rest_marks) = HALVES.items()
    with tempfile.TemporaryFile() as output:
        board = start(board_marks, arguments, output.fileno())
        try:
            print(f"== tests: {rest_name}", flush=True)
            rest = start(rest_marks, arguments, None)
            code = rest.wait()
            print(f"== tests: {board_name}", flush=True)
            board_code = board.wait()
        finally:
            board.terminate()
            board.wait()
        output.seek(0)
        sys.stdout.write(output.read().decode(errors="replace"))
    sys.stdout.flush()
    return code or board_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
