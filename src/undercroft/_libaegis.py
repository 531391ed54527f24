# SPDX-License-Identifier: Apache-2.0
"""libaegis's source, from which the host's engine is built.

It comes inside the pinned source of pyaegis, the library that seals with AEGIS:
Debian has no libaegis, and its libsodium is older than AEGIS.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from undercroft._cache import cache_key, cache_root, cached_folder
from undercroft._models.packages import PYAEGIS_SOURCE, fetch
from undercroft.errors import FormatError

_PREFIX: Final = PurePosixPath("pyaegis-0.3.1/c_src")
_PARTS: Final = ("aegis128l", "common", "include")


def libaegis_dir() -> Path:
    """Return the cached folder of libaegis: `aegis128l`, `common`, `include`.

    Raises:
        EnvironmentMissingError: pip is missing, or could not get the source.
        FormatError: pip got a file that is not the pinned one.
        HarnessError: The cache folder cannot be written.
    """
    key = cache_key(PYAEGIS_SOURCE.sha256, _PARTS)
    folder = cache_root() / "packages" / f"libaegis-{key}"

    def build(scratch: Path) -> dict[str, Any]:
        count = _unpack(fetch(PYAEGIS_SOURCE), scratch)
        return {"source": PYAEGIS_SOURCE.filename, "files": count}

    return cached_folder(folder, build)


def _unpack(archive: Path, destination: Path) -> int:
    count = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            inside = _inside(member.name)
            if inside is None or not member.isfile():
                continue
            source = tar.extractfile(member)
            if source is None:
                continue
            target = destination / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
            count += 1
    if not count:
        raise FormatError(f"{archive.name} holds nothing in {_PREFIX}")
    return count


def _inside(name: str) -> PurePosixPath | None:
    path = PurePosixPath(name)
    if ".." in path.parts or not path.is_relative_to(_PREFIX):
        return None
    inside = path.relative_to(_PREFIX)
    return inside if inside.parts and inside.parts[0] in _PARTS else None
