# SPDX-License-Identifier: Apache-2.0
"""The ways in which an emulated board fails, each its own class.

::

    HarnessError
    ├── BoardDiedError          QEMU ended; carries what it said
    ├── KernelPanicError        Linux on the board stopped
    ├── SecureWorldMissingError Linux runs but found no OP-TEE
    ├── AgentFailedError        the agent ended instead of serving
    ├── BootTimeoutError        none of these, and the deadline passed
    ├── PortInUseError          the wanted host port is taken
    ├── BoardNotRunningError    a command for a board that is not up
    └── GuestCommandError       a command on the board gave no answer
"""

from __future__ import annotations

from undercroft.errors import HarnessError


class BoardDiedError(HarnessError):
    """QEMU ended by itself; the message carries its own words."""


class KernelPanicError(HarnessError):
    """The board's Linux kernel panicked."""


class SecureWorldMissingError(HarnessError):
    """Linux came up without a TEE device: OP-TEE did not start."""


class AgentFailedError(HarnessError):
    """The agent on the board ended before it served its first request."""


class BootTimeoutError(HarnessError):
    """The board did not get ready before the deadline."""


class PortInUseError(HarnessError):
    """Another program listens on the wanted host port."""


class BoardNotRunningError(HarnessError):
    """The named board is not up."""


class GuestCommandError(HarnessError):
    """A command on the board did not end in time, or its answer was cut off."""
