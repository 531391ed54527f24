# SPDX-License-Identifier: Apache-2.0
"""Search memory and disk images for plaintext that must not be there.

The proof that nothing leaks reads a board's whole normal-world memory from
outside while a sealed model infers, and looks in it for 16-byte windows of
what is secret: weights (packed and as in the ONNX file), program, keys,
activations. Windows are taken every few hundred bytes, so any plaintext page
that lies there whole or in larger pieces is hit many times over.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

WINDOW_BYTES = 16
# A window with fewer different bytes (zeros, padding, a repeated float) occurs
# anywhere by chance and would prove nothing.
MIN_DISTINCT_BYTES = 8
_TABLE_BITS = 24
_CHUNK_BYTES = 32 << 20


def sample_windows(data: bytes | memoryview, every_bytes: int) -> Iterator[bytes]:
    """Yield telling windows of `data`, one in each `every_bytes`.

    In each stretch the first window with at least MIN_DISTINCT_BYTES different
    bytes is taken, at a multiple of 4 bytes, as floats lie in memory.
    """
    view = memoryview(data)
    for start in range(0, len(view) - WINDOW_BYTES + 1, every_bytes):
        stop = min(start + every_bytes, len(view) - WINDOW_BYTES + 1)
        for offset in range(start, stop, 4):
            window = bytes(view[offset : offset + WINDOW_BYTES])
            if len(set(window)) >= MIN_DISTINCT_BYTES:
                yield window
                break


@dataclass
class SearchResult:
    """What one scan found.

    Attributes:
        scanned_bytes: how much was read.
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


class SecretSearch:
    """A set of windows, each of one kind of secret, and scans for them."""

    def __init__(self) -> None:
        self._kind_of: dict[bytes, str] = {}

    def add(self, kind: str, windows: Iterable[bytes]) -> None:
        """Look for these windows too; the first kind that names one keeps it."""
        for window in windows:
            if len(window) != WINDOW_BYTES:
                raise ValueError(f"a window has {WINDOW_BYTES} bytes")
            self._kind_of.setdefault(window, kind)

    @property
    def needles(self) -> dict[str, int]:
        """How many windows there are of each kind."""
        return dict(Counter(self._kind_of.values()))

    def scan_file(self, path: Path) -> SearchResult:
        """Scan a file at every byte offset, live: it may change meanwhile.

        Args:
            path: a memory backend file or a disk image; may be sparse.
        """
        with path.open("rb") as file:
            size = path.stat().st_size
            if size < WINDOW_BYTES:
                return SearchResult(scanned_bytes=size, needles=self.needles)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as image:
                return self._scan(image, size)

    def scan_bytes(self, data: bytes) -> SearchResult:
        """Scan bytes in memory."""
        return self._scan(data, len(data))

    def _scan(self, image: bytes | mmap.mmap, size: int) -> SearchResult:
        table = self._table()
        seen: dict[bytes, int] = {}
        step = _CHUNK_BYTES
        for start in range(0, size, step):
            # Chunks overlap by a window, so that none is missed at a border.
            chunk = image[start : min(start + step + WINDOW_BYTES - 1, size)]
            if not chunk.strip(b"\0"):
                continue
            for offset, window in self._candidates(chunk, table):
                if window in self._kind_of:
                    seen.setdefault(window, start + offset)
        result = SearchResult(scanned_bytes=size, needles=self.needles)
        result.found = {kind: 0 for kind in result.needles}
        for window, offset in sorted(seen.items(), key=lambda item: item[1]):
            kind = self._kind_of[window]
            result.found[kind] += 1
            result.first_offsets.setdefault(kind, offset)
        return result

    def _table(self) -> npt.NDArray[np.bool_]:
        table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        if self._kind_of:
            heads = np.frombuffer(
                b"".join(window[:4] for window in self._kind_of), dtype="<u4"
            )
            table[_hash(heads)] = True
        return table

    @staticmethod
    def _candidates(
        chunk: bytes, table: npt.NDArray[np.bool_]
    ) -> Iterator[tuple[int, bytes]]:
        for shift in range(4):
            count = (len(chunk) - shift) // 4
            words = np.frombuffer(chunk, dtype="<u4", count=count, offset=shift)
            for index in np.flatnonzero(table[_hash(words)]):
                offset = int(index) * 4 + shift
                yield offset, chunk[offset : offset + WINDOW_BYTES]


def _hash(words: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Mix 32-bit words into table indices (Knuth's multiplicative hash)."""
    mixed = words * np.uint32(2654435761)
    return mixed >> np.uint32(32 - _TABLE_BITS)
