# SPDX-License-Identifier: Apache-2.0
"""The emulated board's secure memory, read and written from outside.

QEMU's control protocol sees memory as the normal world does. The secure RAM is a
private mapping of QEMU's process, which is ours and which the kernel lets us read
as a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from undercroft._board import BoardInfo
from undercroft._leakproof import paused
from undercroft._leaks import SearchResult, SecretSearch

SECURE_RAM_BYTES = 16 << 20
"""Of QEMU's `virt` machine with `secure=on`, at 0x0e000000."""
_OF_OPTEE = b"OP-TEE version: "


@dataclass(frozen=True)
class SecureMemory:
    """Where a board's secure memory is mapped."""

    board: BoardInfo
    address: int

    @classmethod
    def of(cls, board: BoardInfo) -> Self:
        """Find it: an anonymous mapping of that size with OP-TEE in it."""
        found = []
        for line in Path(f"/proc/{board.pid}/maps").read_text().splitlines():
            span, rights, _, _, inode, *_ = line.split()
            begin, end = (int(text, 16) for text in span.split("-"))
            if (end - begin, rights, inode) == (SECURE_RAM_BYTES, "rw-p", "0"):
                memory = cls(board, begin)
                if _OF_OPTEE in memory.read():
                    found.append(memory)
        assert len(found) == 1, found
        return found[0]

    def read(self) -> bytes:
        """Return all of it, while the board's processors stand still."""
        with paused(self.board), self._file("rb") as file:
            file.seek(self.address)
            data = file.read(SECURE_RAM_BYTES)
        assert len(data) == SECURE_RAM_BYTES
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Put something else there: a fault that no attacker could make."""
        with paused(self.board), self._file("r+b") as file:
            file.seek(self.address + offset)
            file.write(data)

    def look(self, search: SecretSearch) -> SearchResult:
        """Search all of it."""
        return search.scan_bytes(self.read())

    def _file(self, mode: str):
        return open(f"/proc/{self.board.pid}/mem", mode, buffering=0)  # noqa: PTH123
