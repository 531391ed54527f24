# SPDX-License-Identifier: Apache-2.0
"""Makes ext4 disk images from folders, without root and without mounting."""

from __future__ import annotations

from pathlib import Path

from undercroft._host import run_tool

_BLOCK_BYTES = 4096
_INODE_BYTES = 256
_MEBIBYTE = 1024 * 1024


def make_read_only_image(folder: Path, image: Path, *, label: str) -> None:
    """Write a folder's tree into a new ext4 image meant to be mounted read-only.

    The image is a sparse file with some room to spare, and has no journal.

    Raises:
        EnvironmentMissingError: ``mke2fs`` is not installed.
        HarnessError: It failed; for instance the disk is full.
    """
    size_bytes = _tree_bytes(folder) * 5 // 4 + 8 * _MEBIBYTE
    _mke2fs(image, size_bytes, label, "-O", "^has_journal", "-d", folder)


def make_empty_image(image: Path, size_bytes: int, *, label: str) -> None:
    """Create an empty ext4 image with a journal, as a sparse file.

    Raises:
        EnvironmentMissingError: ``mke2fs`` is not installed.
        HarnessError: It failed.
    """
    _mke2fs(image, size_bytes, label)


def _mke2fs(image: Path, size_bytes: int, label: str, *options: str | Path) -> None:
    run_tool(
        [
            "mke2fs",
            "-q",
            "-F",
            "-t",
            "ext4",
            "-b",
            str(_BLOCK_BYTES),
            "-I",
            str(_INODE_BYTES),
            "-m",
            "0",
            "-L",
            label,
            "-E",
            "root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1",
            *options,
            image,
            f"{size_bytes // 1024}k",
        ],
        purpose=f"making the disk image {image.name}",
    )


def _tree_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        total += _INODE_BYTES + _BLOCK_BYTES
        if path.is_file() and not path.is_symlink():
            total += -(-path.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES
    return total
