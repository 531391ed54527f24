# SPDX-License-Identifier: Apache-2.0
"""Whether this machine's clock counts instructions.

A board started with `--clock instructions` executes one instruction per nanosecond
of guest time, and says so on its kernel's command line.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

COMMAND_LINE = Path("/proc/cmdline")
WORD = "undercroft.clock=instructions"


@cache
def counts_instructions() -> bool:
    """Whether a nanosecond of the monotonic clock is one instruction."""
    try:
        return WORD in COMMAND_LINE.read_text().split()
    except OSError:
        return False
