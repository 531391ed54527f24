# SPDX-License-Identifier: Apache-2.0
"""Everything a board boots from, assembled once into the cache folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undercroft._board import firmware, kernel, payload, rootfs
from undercroft._board.recipe import ARCH
from undercroft._cache import Progress, cache_key, cache_root, read_manifest
from undercroft._debian import AptRoot, remove_fetched_files
from undercroft._host import require_tools

BUILD_VARIABLE = "UNDERCROFT_BUILD"
HOST_TOOLS = (
    "aarch64-linux-gnu-gcc",
    "apt-get",
    "dpkg-deb",
    "dpkg-source",
    "dtc",
    "gcc",
    "make",
    "mke2fs",
    "patch",
    "xz",
)


def _quiet(_message: str) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Images:
    """The files that QEMU is started with."""

    flash: Path
    kernel: Path
    initramfs: Path
    root: Path
    payload: Path

    @property
    def key(self) -> str:
        """Changes when any of them does; their folders carry content keys."""
        return cache_key([path.parent.name for path in self.all()])

    def all(self) -> tuple[Path, ...]:
        """Return the paths in a fixed order."""
        return (self.flash, self.kernel, self.initramfs, self.root, self.payload)

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Return what went into each part: packages, versions, hashes."""
        folders = {path.parent for path in self.all()}
        return {
            folder.name: manifest
            for folder in sorted(folders)
            if (manifest := read_manifest(folder)) is not None
        }


def images_folder() -> Path:
    """Return the cache folder of the board's parts."""
    folder = cache_root() / "board"
    folder.mkdir(exist_ok=True)
    return folder


def build_folder() -> Path | None:
    """Return the folder of native builds, or None outside a checkout.

    It is ``UNDERCROFT_BUILD`` when set, else ``build`` of the checkout that
    this package is imported from.
    """
    override = os.environ.get(BUILD_VARIABLE)
    if override:
        return Path(override).expanduser().absolute()
    checkout = Path(__file__).parents[3]
    return checkout / "build" if (checkout / "pyproject.toml").is_file() else None


def build_images(
    *,
    extra: Mapping[str, Path] | None = None,
    refresh: bool = False,
    progress: Progress | None = None,
) -> Images:
    """Assemble what is missing and return where everything is.

    Args:
        extra: More files for the payload disk, see ``Payload.collect``.
        refresh: Fetch Debian's packages again and assemble all parts anew.
        progress: Called with a sentence before each step that takes long.

    Raises:
        EnvironmentMissingError: A host tool is missing; all are named.
        HarnessError: A step failed.
    """
    tell = progress or _quiet
    folder = images_folder()
    app = payload.Payload.collect(build_folder=build_folder(), extra=extra)

    def about_to_work(text: str) -> None:
        require_tools(HOST_TOOLS, purpose="assemble the emulated board")
        tell(text)

    if refresh:
        about_to_work("fetching Debian's package lists")
        remove_fetched_files()
        AptRoot(ARCH).update()
    kernel_folder = kernel.build_kernel(folder, about_to_work, refresh=refresh)
    flash_folder = firmware.build_flash(folder, about_to_work, refresh=refresh)
    root_folder = rootfs.build_root(folder, about_to_work, refresh=refresh)
    payload_folder = app.build(folder, about_to_work)
    return Images(
        flash=flash_folder / firmware.FLASH_NAME,
        kernel=kernel_folder / kernel.IMAGE_NAME,
        initramfs=kernel_folder / kernel.INITRAMFS_NAME,
        root=root_folder / rootfs.IMAGE_NAME,
        payload=payload_folder / payload.IMAGE_NAME,
    )
