# SPDX-License-Identifier: Apache-2.0
"""The board's flash image: Trusted Firmware-A, with OP-TEE inside.

OP-TEE is Debian's signed binary. Debian packages no Trusted Firmware for
QEMU's machine, so that one part is compiled, from Debian's signed source.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from undercroft._board import recipe
from undercroft._cache import Progress, cache_key, cached_folder, file_sha256
from undercroft._debian import SUITE, AptRoot, unpack
from undercroft._host import require_tools, run_tool
from undercroft.errors import EnvironmentMissingError, HarnessError

FLASH_NAME = "flash.bin"
_OPENSSL_HEADER = Path("/usr/include/openssl/ssl.h")
_BUILD_TOOLS = ("make", "gcc", "aarch64-linux-gnu-gcc", "dtc")
_FORMAT = 1


def build_flash(folder: Path, progress: Progress, *, refresh: bool = False) -> Path:
    """Return the folder that holds the flash image, building it when absent.

    Args:
        folder: The cache folder of the board's parts.
        progress: Told when there is work to do.
        refresh: Build again even when it is there.

    Raises:
        EnvironmentMissingError: A build tool is missing.
        HarnessError: The build failed.
    """
    key = cache_key(
        _FORMAT,
        SUITE,
        recipe.OPTEE_PACKAGE,
        recipe.FIRMWARE_SOURCE,
        recipe.FIRMWARE_SETTINGS,
        dict(recipe.FIRMWARE_IMAGES),
        recipe.FLASH_BYTES,
        recipe.FIP_OFFSET_BYTES,
    )

    def build(scratch: Path) -> dict[str, Any]:
        progress("firmware: fetching OP-TEE, compiling Trusted Firmware-A")
        return _build(scratch)

    return cached_folder(folder / f"flash-{key}", build, refresh=refresh)


def _build(scratch: Path) -> dict[str, Any]:
    require_tools(_BUILD_TOOLS, purpose="compile the board's firmware")
    if not _OPENSSL_HEADER.is_file() and not list(
        Path("/usr/include").glob("*/openssl/ssl.h")
    ):
        raise EnvironmentMissingError(
            "needed to compile the board's firmware, not found: OpenSSL's headers",
            hint="sudo apt-get install libssl-dev",
        )
    apt = AptRoot(recipe.ARCH)
    debs = apt.fetch([recipe.OPTEE_PACKAGE])
    work = scratch / "work"
    unpack(debs, work / "optee")
    images = work / "optee" / recipe.OPTEE_FOLDER
    source = work / "source"
    version = apt.source(recipe.FIRMWARE_SOURCE, source)
    settings = [
        *recipe.FIRMWARE_SETTINGS,
        *(f"{name}={images / file}" for name, file in recipe.FIRMWARE_IMAGES.items()),
    ]
    run_tool(
        ["make", f"-j{os.cpu_count() or 1}", *settings, "all", "fip"],
        purpose="compiling Trusted Firmware-A",
        cwd=source,
        # Settings of an outer make, such as its job server, are not this one's.
        env={"MAKEFLAGS": "", "MAKELEVEL": "", "MFLAGS": ""},
    )
    built = source / "build" / "qemu" / "release"
    flash = scratch / FLASH_NAME
    write_flash(
        flash,
        (built / "bl1.bin").read_bytes(),
        (built / "fip.bin").read_bytes(),
    )
    shutil.rmtree(work)
    return {
        "packages": [deb.record() for deb in debs],
        "source": {"package": recipe.FIRMWARE_SOURCE, "version": version},
        "sha256": file_sha256(flash),
    }


def write_flash(path: Path, first_stage: bytes, image_package: bytes) -> None:
    """Lay the first boot stage and the firmware image package into flash.

    Args:
        path: The file to write; padded to the size of the flash.
        first_stage: ``bl1.bin``, executed in place from offset 0.
        image_package: ``fip.bin``.

    Raises:
        HarnessError: A part is larger than its place.
    """
    room = recipe.FLASH_BYTES - recipe.FIP_OFFSET_BYTES
    if len(first_stage) > recipe.FIP_OFFSET_BYTES or len(image_package) > room:
        raise HarnessError(
            f"the firmware does not fit the flash: first stage {len(first_stage)} of "
            f"{recipe.FIP_OFFSET_BYTES} bytes, images {len(image_package)} of {room}"
        )
    with path.open("wb") as flash:
        flash.write(first_stage)
        flash.seek(recipe.FIP_OFFSET_BYTES)
        flash.write(image_package)
        flash.truncate(recipe.FLASH_BYTES)
