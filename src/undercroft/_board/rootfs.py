# SPDX-License-Identifier: Apache-2.0
"""The board's root disk: Debian packages, mounted read-only at run time.

Maintainer scripts do not run, so the few things they would have done and the
board needs (links, users, byte code) are done here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from undercroft._board import recipe
from undercroft._board.bytecode import compile_trees
from undercroft._board.ext4 import make_read_only_image
from undercroft._cache import Progress, cache_key, cached_folder
from undercroft._debian import SUITE, AptRoot, unpack

IMAGE_NAME = "root.ext4"
_FORMAT = 1


def build_root(folder: Path, progress: Progress, *, refresh: bool = False) -> Path:
    """Return the folder that holds the root disk's image, made when absent.

    Args:
        folder: The cache folder of the board's parts.
        progress: Told when there is work to do.
        refresh: Make it again even when it is there.

    Raises:
        EnvironmentMissingError: A host tool is missing.
        HarnessError: A package could not be fetched, or the disk is full.
    """
    key = cache_key(
        _FORMAT,
        SUITE,
        recipe.ROOT_PACKAGES,
        recipe.UNUSED_PACKAGES,
        recipe.UNUSED_PATHS,
        recipe.ROOT_FOLDERS,
        dict(recipe.ROOT_LINKS),
        dict(recipe.ROOT_FILES),
        recipe.BUSYBOX_COMMANDS,
        recipe.PYTHON_TREES,
        recipe.BYTECODE_PACKAGES,
    )

    def build(scratch: Path) -> dict[str, Any]:
        progress("root disk: fetching and unpacking about 70 Debian packages")
        return _build(scratch)

    return cached_folder(folder / f"root-{key}", build, refresh=refresh)


def _build(scratch: Path) -> dict[str, Any]:
    debs = [
        deb
        for deb in AptRoot(recipe.ARCH).fetch(
            recipe.ROOT_PACKAGES, with_dependencies=True
        )
        if deb.package not in recipe.UNUSED_PACKAGES
    ]
    root = scratch / "root"
    unpack(debs, root)
    furnish(root)
    compile_trees(root, recipe.PYTHON_TREES)
    make_read_only_image(root, scratch / IMAGE_NAME, label="undercroft-root")
    shutil.rmtree(root)
    return {"packages": [deb.record() for deb in debs]}


def furnish(root: Path) -> None:
    """Turn unpacked packages into a root file system, in place."""
    for name in recipe.UNUSED_PATHS:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in recipe.ROOT_FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, target in recipe.ROOT_LINKS.items():
        link = root / name
        if link.is_dir() and not link.is_symlink():
            link.rmdir()
        link.symlink_to(target)
    for name, text in recipe.ROOT_FILES.items():
        (root / name).write_text(text)
    for name in recipe.BUSYBOX_COMMANDS:
        command = root / "usr/bin" / name
        # Where a package brings the command itself, the package wins.
        if not os.path.lexists(command):
            command.symlink_to("busybox")
