# SPDX-License-Identifier: Apache-2.0
"""Search memory and disk images for plaintext that must not be there.

The proof that nothing leaks reads a board's whole normal-world memory from
outside while a sealed model infers, and looks in it for 16-byte windows of
what is secret: weights (packed and as in the ONNX file), program, keys,
activations. Windows are taken every few hundred bytes, so any plaintext page
that lies there whole or in larger pieces is hit many times over. They are looked
for at every byte offset.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

WINDOW_BYTES: Final = 16
# A window with fewer different bytes (zeros, padding, a repeated float) occurs
# anywhere by chance and would prove nothing.
MIN_DISTINCT_BYTES: Final = 8
_HALF_BYTES: Final = WINDOW_BYTES // 2
_MIN_DISTINCT_IN_HALF: Final = 2
_TABLE_BITS: Final = 23
_CHUNK_BYTES = 1 << 20


def is_telling(window: bytes, min_distinct_bytes: int = MIN_DISTINCT_BYTES) -> bool:
    """Whether a window hardly occurs by chance."""
    return (
        len(set(window)) >= min_distinct_bytes
        and len(set(window[:_HALF_BYTES])) >= _MIN_DISTINCT_IN_HALF
        and len(set(window[_HALF_BYTES:])) >= _MIN_DISTINCT_IN_HALF
    )


def sample_windows(
    data: bytes | memoryview,
    every_bytes: int,
    *,
    min_distinct_bytes: int = MIN_DISTINCT_BYTES,
) -> Iterator[bytes]:
    """Yield telling windows of `data`, one in each `every_bytes`.

    In each stretch the first telling window is taken, at a multiple of 4 bytes,
    as floats lie in memory.

    Args:
        data: the secret.
        every_bytes: length of a stretch.
        min_distinct_bytes: fewer for records of numbers, which have many zeros
            and are rare as a whole.
    """
    view = memoryview(data)
    for start in range(0, len(view) - WINDOW_BYTES + 1, every_bytes):
        stop = min(start + every_bytes, len(view) - WINDOW_BYTES + 1)
        for offset in range(start, stop, 4):
            window = bytes(view[offset : offset + WINDOW_BYTES])
            if is_telling(window, min_distinct_bytes):
                yield window
                break


@dataclass
class SearchResult:
    """What scans found.

    Attributes:
        scanned_bytes: how much was read, holes of sparse files included.
        needles: windows looked for, by kind of secret.
        found: different windows found, by kind of secret.
        first_offsets: offset of the first hit of each kind.
    """

    scanned_bytes: int = 0
    needles: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    first_offsets: dict[str, int] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """True when nothing was found (and something was looked for)."""
        return bool(self.needles) and not any(self.found.values())

    def without(self, *kinds: str) -> Self:
        """The same result as if these kinds had not been looked for."""

        def rest(counts: dict[str, int]) -> dict[str, int]:
            return {kind: n for kind, n in counts.items() if kind not in kinds}

        return type(self)(
            scanned_bytes=self.scanned_bytes,
            needles=rest(self.needles),
            found=rest(self.found),
            first_offsets=rest(self.first_offsets),
        )


class SecretSearch:
    """A set of windows, each of one kind of secret, and scans for them."""

    def __init__(self) -> None:
        self._kind_of: dict[bytes, str] = {}
        self._filters: tuple[_Filter, _Filter] | None = None

    def add(self, kind: str, windows: Iterable[bytes]) -> None:
        """Look for these windows too; the first kind that names one keeps it."""
        for window in windows:
            if len(window) != WINDOW_BYTES:
                raise ValueError(f"a window has {WINDOW_BYTES} bytes")
            self._kind_of.setdefault(window, kind)
        self._filters = None

    @property
    def needles(self) -> dict[str, int]:
        """How many windows there are of each kind."""
        return dict(Counter(self._kind_of.values()))

    def scan_file(self, path: Path) -> SearchResult:
        """Scan a file at every byte offset, live: it may change meanwhile.

        Args:
            path: a memory backend file or a disk image; holes of a sparse file
                count as scanned, since they read as zeros.
        """
        return self.scan_files([path])

    def scan_files(self, paths: Iterable[Path]) -> SearchResult:
        """Scan several files; windows found in more than one count once."""
        seen: dict[bytes, int] = {}
        size = 0
        for path in paths:
            with path.open("rb", buffering=0) as file:
                size += os.fstat(file.fileno()).st_size
                for start, chunk in _chunks_of(file.fileno()):
                    self._look(chunk, start, seen)
        return self._result(seen, size)

    def scan_bytes(self, data: bytes) -> SearchResult:
        """Scan bytes in memory."""
        seen: dict[bytes, int] = {}
        for start in range(0, len(data), _CHUNK_BYTES):
            stop = start + _CHUNK_BYTES + WINDOW_BYTES - 1
            self._look(data[start:stop], start, seen)
        return self._result(seen, len(data))

    def _result(self, seen: dict[bytes, int], size: int) -> SearchResult:
        result = SearchResult(scanned_bytes=size, needles=self.needles)
        result.found = dict.fromkeys(result.needles, 0)
        for window, offset in sorted(seen.items(), key=lambda item: item[1]):
            kind = self._kind_of[window]
            result.found[kind] += 1
            result.first_offsets.setdefault(kind, offset)
        return result

    def _look(self, chunk: bytes, start: int, seen: dict[bytes, int]) -> None:
        """Look at every offset of a chunk whose first byte is at `start`."""
        heads, tails = self._tables()
        for shift in range(_HALF_BYTES):
            count = (len(chunk) - shift) // _HALF_BYTES
            words = np.frombuffer(chunk, dtype="<u8", count=count, offset=shift)
            if count < 2 or not words.any():
                continue
            # Both halves of a window look right before Python looks at it.
            likely = np.flatnonzero(heads.has(words[:-1]))
            likely = likely[tails.has(words[likely + 1])]
            for index in likely:
                offset = int(index) * _HALF_BYTES + shift
                window = chunk[offset : offset + WINDOW_BYTES]
                if window in self._kind_of:
                    seen.setdefault(window, start + offset)

    def _tables(self) -> tuple[_Filter, _Filter]:
        if self._filters is None:
            halves = np.frombuffer(b"".join(self._kind_of), dtype="<u8").reshape(-1, 2)
            self._filters = _Filter(halves[:, 0]), _Filter(halves[:, 1])
        return self._filters


class _Filter:
    """Says quickly of most 64-bit words that they are not in a set.

    A table of bits, small enough for a processor's cache.
    """

    def __init__(self, words: npt.NDArray[np.uint64]) -> None:
        self._table = np.zeros(1 << (_TABLE_BITS - 3), dtype=np.uint8)
        slots = _hash(words)
        bits = np.left_shift(1, slots & np.uint64(7), dtype=np.uint64)
        places = (slots >> np.uint64(3)).view(np.int64)
        np.bitwise_or.at(self._table, places, bits.astype(np.uint8))

    def has(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        slots = _hash(words)
        found = self._table.take((slots >> np.uint64(3)).view(np.int64), mode="clip")
        found >>= slots.astype(np.uint8) & np.uint8(7)
        found &= np.uint8(1)
        return found.view(np.bool_)


def _chunks_of(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of a file that are not holes, overlapping by a window."""
    size = os.fstat(descriptor).st_size
    position = 0
    while position < size:
        try:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        for start in range(begin, end, _CHUNK_BYTES):
            # A window may reach over the border of a chunk or into a hole, and
            # may begin in the zeros before.
            first = max(start - WINDOW_BYTES + 1, 0)
            stop = min(start + _CHUNK_BYTES, end) + WINDOW_BYTES - 1
            chunk = os.pread(descriptor, stop - first, first)
            if chunk:
                yield first, chunk
        position = end


def _hash(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix 64-bit words into table indices (Knuth's multiplicative hash)."""
    return (words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _TABLE_BITS)
