# SPDX-License-Identifier: Apache-2.0
"""Memory of this process that the TEE may read and write.

Registering is what makes memory shared: Linux pins it and tells OP-TEE where its
pages lie, and OP-TEE keeps that list on a small heap of its own, 8 bytes for each
4 KiB. So there is not much room: OP-TEE with a heap of 192 KiB takes 76 MiB.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from undercroft._device import teec
from undercroft._device.teec import TeecContext, TeecSharedMemory
from undercroft.errors import DeviceError

if TYPE_CHECKING:
    from undercroft._device.parcel import PageFile

SPARE_PIECES: Final = 16
"""What kept pages leave free in OP-TEE, for other programs: as many pieces of the size
of a step, which is 64 KiB of its heap."""

TURN_PIECES: Final = 2
"""So many pieces are registered at a time where not all can be for good."""

_KIB: Final = 1024


def private_memory(size_bytes: int) -> mmap.mmap:
    """Return zeros in whole pages of their own, huge ones where Linux has them.

    Private, not shared with children: to fill and register huge pages takes a quarter
    of the instructions.
    """
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def available_bytes() -> int:
    """Return the memory that this machine can give without swapping, 0 if unknown."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * _KIB
    return 0


class SharedMemory:
    """A part of a mapping, registered; nothing else of this process lies in it."""

    def __init__(
        self,
        library: ctypes.CDLL,
        context: TeecContext,
        memory: mmap.mmap,
        offset: int = 0,
        size_bytes: int | None = None,
    ) -> None:
        """Register whole pages of a mapping, to its end unless told otherwise.

        Raises:
            DeviceError: the TEE or the driver has no room for them.
        """
        size = len(memory) - offset if size_bytes is None else size_bytes
        self._library = library
        self.view = memoryview(memory)[offset : offset + size]
        self._array = (ctypes.c_uint8 * size).from_buffer(memory, offset)
        self.shared = TeecSharedMemory(
            buffer=ctypes.addressof(self._array),
            size=size,
            flags=teec.MEM_INPUT | teec.MEM_OUTPUT,
        )
        self.pointer = ctypes.pointer(self.shared)
        result = library.TEEC_RegisterSharedMemory(ctypes.byref(context), self.pointer)
        self._registered = result == teec.Result.SUCCESS
        if not self._registered:
            raise teec.memory_failure(result, size)

    def release(self) -> None:
        """Unregister it. The mapping itself goes when its last view is gone."""
        if self._registered:
            self._registered = False
            self._library.TEEC_ReleaseSharedMemory(self.pointer)


class Share(Protocol):
    """Registers a part of a mapping; raises DeviceError when there is no room."""

    def __call__(
        self, memory: mmap.mmap, offset: int = 0, size_bytes: int | None = None
    ) -> SharedMemory:
        """Return the registered part."""
        ...


class KeptPages:
    """The pages of every inference in this process's memory, while a session lasts.

    A piece holds what one call takes. As many pieces as OP-TEE has room for are
    registered for good, the first ones; the others in turn, a few at a time, which
    takes half of what copying them takes. All are a copy of the file: whoever changes
    it later does not change them, and whoever changed it before is refused by the
    secure side, as with any page.
    """

    def __init__(
        self, share: Share, memory: mmap.mmap, pages: range, step: int, slot_bytes: int
    ) -> None:
        """Register as many pieces as there is room for; see `take`."""
        self._share = share
        self._memory = memory
        self._first = pages.start
        self._step = step
        self._slot_bytes = slot_bytes
        self._piece_bytes = piece_bytes(step, slot_bytes)
        self._count = len(memory) // self._piece_bytes
        self._registered: list[SharedMemory] = []
        self._turn = -1
        self._in_turn: SharedMemory | None = None
        self._is_full = False
        # From finding pages to the end of the call that hands them in.
        self.lock = threading.Lock()
        self.size_bytes = len(memory)
        self._register()

    @classmethod
    def take(
        cls, share: Share, file: PageFile, pages: range, step: int, limit_bytes: int
    ) -> Self | None:
        """Copy pages out of a file.

        Args:
            share: registers memory.
            file: where they are read from.
            pages: the pages that are wanted again and again.
            step: how many of them one call takes.
            limit_bytes: of this machine's memory.

        Returns:
            None when they do not fit the limit or OP-TEE has no room.

        Raises:
            FormatError: the file does not have these pages.
            FileAccessError: it cannot be read.
        """
        room = piece_bytes(step, file.slot_bytes)
        size = -(-len(pages) // step) * room
        if not 0 < size <= limit_bytes:
            return None
        memory = private_memory(size)
        kept = cls(share, memory, pages, step, file.slot_bytes)
        if not kept._registered:
            kept.release()
            return None
        try:
            view = memoryview(memory)
            for begin in range(0, size, room):
                some = pages[begin // room * step :][:step]
                file.read(some.start, len(some), view[begin : begin + room])
        except BaseException:
            kept.release()
            raise
        return kept

    def find(self, first: int, count: int) -> tuple[SharedMemory, int, int] | None:
        """Return what shared memory pages lie in, from where on, and their size.

        None when OP-TEE has no room for them any more.
        """
        piece, at = self._place(first, count)
        offset, size = at * self._slot_bytes, count * self._slot_bytes
        if piece < len(self._registered):
            return self._registered[piece], offset, size
        turn, place = divmod(piece - len(self._registered), TURN_PIECES)
        if turn != self._turn and not self._is_full:
            self._begin_turn(turn)
        if self._in_turn is None:
            return None
        return self._in_turn, place * self._piece_bytes + offset, size

    def copy(self, first: int, count: int, into: memoryview) -> int:
        """Fill the beginning of `into` with pages; return the number of bytes."""
        piece, at = self._place(first, count)
        begin = piece * self._piece_bytes + at * self._slot_bytes
        size = count * self._slot_bytes
        into[:size] = memoryview(self._memory)[begin : begin + size]
        return size

    def let_go(self) -> None:
        """Give OP-TEE its memory back; from now on pages are copied."""
        with self.lock:
            self._is_full = True
            self.release()

    def release(self) -> None:
        """Unregister them. Idempotent."""
        self._end_turn()
        while self._registered:
            self._registered.pop().release()

    def _place(self, first: int, count: int) -> tuple[int, int]:
        piece, at = divmod(first - self._first, self._step)
        if not (0 <= piece < self._count and 1 <= count <= self._step - at):
            raise DeviceError(f"pages {first} to {first + count - 1} are not kept")
        return piece, at

    def _piece(self, index: int, count: int = 1) -> SharedMemory:
        return self._share(
            self._memory, index * self._piece_bytes, count * self._piece_bytes
        )

    def _register(self) -> None:
        """Register pieces for good, and find out how much room is left behind them."""
        spare: list[SharedMemory] = []
        try:
            # First, because a turn needs its room in OP-TEE in one piece; what one
            # turn gives back is there for the next.
            self._in_turn = self._piece(0, min(TURN_PIECES, self._count))
            while len(self._registered) < self._count:
                self._registered.append(self._piece(len(self._registered)))
            while len(spare) < SPARE_PIECES:
                spare.append(self._piece(0))
            self._end_turn()
        except DeviceError:
            # No room for more: what has to stay free comes out of what was taken.
            missing = SPARE_PIECES - len(spare)
            for _ in range(min(missing, len(self._registered))):
                self._registered.pop().release()
        finally:
            for piece in spare:
                piece.release()

    def _begin_turn(self, turn: int) -> None:
        self._end_turn()
        begin = len(self._registered) + turn * TURN_PIECES
        count = min(TURN_PIECES, self._count - begin)
        try:
            self._in_turn = self._piece(begin, count)
            self._turn = turn
        except DeviceError:
            # Not tried again: OP-TEE may write a line of its log each time.
            self._is_full = True

    def _end_turn(self) -> None:
        if self._in_turn is not None:
            self._in_turn.release()
            self._in_turn = None


def piece_bytes(step: int, slot_bytes: int) -> int:
    """Return the whole pages of memory that so many slots take."""
    return -(-step * slot_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
