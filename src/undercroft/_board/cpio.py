# SPDX-License-Identifier: Apache-2.0
"""Writes the archive format of Linux's initramfs ("newc" cpio)."""

from __future__ import annotations

import stat
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"
_ALIGN = 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, folder or link: its path, its mode with type bits, its bytes.

    A link's bytes are its target; a folder has none.
    """

    path: str
    mode: int
    data: bytes = b""

    @classmethod
    def file(cls, path: str, data: bytes, *, executable: bool = False) -> Entry:
        """Make a regular file."""
        return cls(path, stat.S_IFREG | (0o755 if executable else 0o644), data)

    @classmethod
    def folder(cls, path: str) -> Entry:
        """Make a folder."""
        return cls(path, stat.S_IFDIR | 0o755)

    @classmethod
    def link(cls, path: str, target: str) -> Entry:
        """Make a symbolic link."""
        return cls(path, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: list[Entry]) -> bytes:
    """Return an archive of the entries, owned by root, with no time stamps.

    The same entries give the same bytes.
    """
    records = [_record(number, entry) for number, entry in enumerate(entries, start=1)]
    return b"".join([*records, _record(0, Entry(_TRAILER, 0))])


def _record(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    fields = (
        number,
        entry.mode,
        0,  # owner
        0,  # group
        1,  # links
        0,  # time
        len(entry.data),
        0,  # device, major and minor
        0,
        0,  # device of a device node, major and minor
        0,
        len(name),
        0,  # checksum, unused in this variant
    )
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGN)
