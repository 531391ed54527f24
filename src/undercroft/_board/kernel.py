# SPDX-License-Identifier: Apache-2.0
"""The board's Linux: Debian's kernel and a small initramfs to reach the disks."""

from __future__ import annotations

import gzip
import lzma
import shutil
from pathlib import Path
from typing import Any

from undercroft._board import recipe
from undercroft._board.cpio import Entry, archive
from undercroft._cache import Progress, cache_key, cached_folder
from undercroft._debian import SUITE, AptRoot, Deb, unpack
from undercroft.errors import HarnessError

IMAGE_NAME = "Image"
INITRAMFS_NAME = "initramfs.cpio.gz"
GUEST_FILES = Path(__file__).parent / "guest"
_INITRAMFS_COMMANDS = ("sh", "mount", "mkdir", "insmod", "cat", "usleep", "switch_root")
_FORMAT = 1


def build_kernel(folder: Path, progress: Progress, *, refresh: bool = False) -> Path:
    """Return the folder that holds kernel and initramfs, made when absent.

    Args:
        folder: The cache folder of the board's parts.
        progress: Told when there is work to do.
        refresh: Make them again even when they are there.

    Raises:
        HarnessError: A package could not be fetched or lacks a module.
    """
    key = cache_key(
        _FORMAT,
        SUITE,
        recipe.KERNEL_PACKAGE,
        recipe.BUSYBOX_PACKAGE,
        recipe.KERNEL_MODULES,
        _init_script(),
    )

    def build(scratch: Path) -> dict[str, Any]:
        progress("kernel: fetching Debian's Linux for the board")
        return _build(scratch)

    return cached_folder(folder / f"kernel-{key}", build, refresh=refresh)


def _init_script() -> str:
    return (GUEST_FILES / "initramfs.sh").read_text()


def _build(scratch: Path) -> dict[str, Any]:
    apt = AptRoot(recipe.ARCH)
    kernel = _fetch_kernel(apt)
    busybox = apt.fetch([recipe.BUSYBOX_PACKAGE])
    files = scratch / "files"
    unpack([kernel, *busybox], files)
    (image,) = (files / "boot").glob("vmlinuz-*")
    shutil.copyfile(image, scratch / IMAGE_NAME)
    contents = archive(_initramfs(files))
    (scratch / INITRAMFS_NAME).write_bytes(gzip.compress(contents, 6, mtime=0))
    shutil.rmtree(files)
    return {"packages": [deb.record() for deb in (kernel, *busybox)]}


def _fetch_kernel(apt: AptRoot) -> Deb:
    """Fetch the package that the kernel's meta-package points at."""
    for deb in apt.fetch([recipe.KERNEL_PACKAGE], with_dependencies=True):
        if deb.package.startswith("linux-image-") and (
            deb.package != recipe.KERNEL_PACKAGE
        ):
            return deb
    raise HarnessError(f"{recipe.KERNEL_PACKAGE} depends on no kernel image")


def _initramfs(files: Path) -> list[Entry]:
    busybox = (files / "usr/bin/busybox").read_bytes()
    folders = ("bin", "dev", "modules", "newroot", "proc", "sys")
    return [
        *(Entry.folder(name) for name in folders),
        Entry.file("bin/busybox", busybox, executable=True),
        *(Entry.link(f"bin/{name}", "busybox") for name in _INITRAMFS_COMMANDS),
        *(
            Entry.file(f"modules/{number}-{name}.ko", _module(files, name))
            for number, name in enumerate(recipe.KERNEL_MODULES)
        ),
        Entry.file("init", _init_script().encode(), executable=True),
    ]


def _module(files: Path, name: str) -> bytes:
    for path in files.rglob(f"{name}.ko*"):
        data = path.read_bytes()
        return lzma.decompress(data) if path.suffix == ".xz" else data
    raise HarnessError(f"the kernel package has no module '{name}'")
