# SPDX-License-Identifier: Apache-2.0
"""One session with the secure side: its commands, their parameters, their answers.

The `tee:` and `host:` devices give an `Invoker`, as `spec/ta-abi.md` has it;
`ModelClient` drives it. This module is also loaded in the board's guest:
standard library only.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from undercroft._spec import Command

if TYPE_CHECKING:
    from undercroft._device.parcel import PageFile

__all__ = ["PARAMETERS", "BytesLike", "Invoker", "Param", "Reply"]

BytesLike: TypeAlias = bytes | bytearray | memoryview


class Param(Enum):
    """The type of one parameter of a command."""

    NONE = "none"
    VALUE_INOUT = "value inout"
    VALUE_OUTPUT = "value output"
    MEMREF_INPUT = "memref input"
    MEMREF_OUTPUT = "memref output"


PARAMETERS: Final[dict[Command, tuple[Param, Param, Param, Param]]] = {
    Command.INFO: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.DEVICE_KEY: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.OPEN: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT,
    ),
    Command.PUSH: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.INFER: (
        Param.VALUE_INOUT, Param.NONE, Param.NONE, Param.NONE,
    ),
    Command.INPUT: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.OUTPUT: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.STATS: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.CLOSE: (
        Param.VALUE_INOUT, Param.NONE, Param.NONE, Param.NONE,
    ),
    Command.SPILL: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.FILL: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.UPDATE: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.NONE, Param.NONE,
    ),
    Command.ATTEST: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_OUTPUT, Param.NONE,
    ),
    Command.ASK: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_OUTPUT, Param.NONE,
    ),
}  # fmt: skip
"""Parameter types of each command (`spec/ta-abi.md`)."""


class Reply(NamedTuple):
    """What a command answered, whichever parameters carried it.

    A tuple, because one is made for each call, which a data class doubles.

    Attributes:
        status: a `Status` value; may be one this version does not know.
        detail: its detail (see `spec/ta-abi.md`).
        want_first: first page wanted next (OPEN, PUSH, INPUT, SPILL, FILL), else
            0; of the file, or of what was spilled in the states SPILLING and
            FILLING.
        want_count: how many pages are wanted, 0 for none or another command.
        state: the state after PUSH, INPUT, SPILL and FILL, else None.
        output: what an output memory reference holds (its written length only).
    """

    status: int
    detail: int = 0
    want_first: int = 0
    want_count: int = 0
    state: int | None = None
    output: bytes = b""


class Invoker(Protocol):
    """One session with the secure side.

    Not safe for use by several threads at once.
    """

    @property
    def buffer(self) -> memoryview:
        """Shared memory (writable, format `B`) that pages are read into.

        Holds at least one page of the largest size with its tag.
        """
        ...

    @property
    def invocations(self) -> int:
        """How often the secure side was entered since `open()`."""
        ...

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """Keep pages where the secure side can read them, until `close()`.

        Args:
            file: which they are read from, now.
            pages: those that every inference takes.
            step: how many of them one call takes at most.

        Returns:
            How many are kept, the first ones; 0 when there is no room, or when it
            is of no use. A call that hands them in does not cross a multiple of
            `step` of them.

        Raises:
            FormatError: the file does not have these pages.
            FileAccessError: it cannot be read.
        """
        ...

    def invoke(
        self,
        command: Command,
        *,
        values: tuple[int, int] = (0, 0),
        data1: BytesLike | None = None,
        data2: BytesLike | None = None,
        buffer_bytes: int = 0,
        output_bytes: int = 0,
        kept: bool = False,
    ) -> Reply:
        """Enter the secure side once.

        Args:
            command: which command; `PARAMETERS` has the types to pass.
            values: parameter 0 (`a`, `b`).
            data1: a MEMREF_INPUT in parameter 1, copied to shared memory. It may
                be larger than `buffer`; the implementation finds room or raises.
            data2: a MEMREF_INPUT in parameter 2, likewise.
            buffer_bytes: instead of `data1`: the first so many bytes of `buffer`,
                without a copy.
            output_bytes: room of the MEMREF_OUTPUT.
            kept: instead of `data1`: the pages that `values` names (PUSH: first,
                count) of those that `keep` took.

        Returns:
            The answer, also when its status is a failure.

        Raises:
            DeviceLostError: the command could not be routed: the Trusted
                Application died, or the session is closed.
        """
        ...

    def close(self) -> None:
        """End the session; the secure side wipes what it holds. Idempotent."""
        ...
