# SPDX-License-Identifier: Apache-2.0
"""The board's payload disk: our own programs, made anew when one changes.

It is mounted read-only at ``/opt/undercroft``::

    init       process 1, a shell script
    python/    this Python package, without its host-only parts
    ta/        signed Trusted Applications (``/usr/lib/optee_armtz`` points here)
    lib/       shared libraries for the normal world, such as the engine

Its cache key is the content of every file, so that equal content is the same
disk and a changed file is a new one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from undercroft._board.bytecode import compile_trees
from undercroft._board.ext4 import make_read_only_image
from undercroft._board.kernel import GUEST_FILES
from undercroft._board.recipe import BYTECODE_PACKAGES
from undercroft._cache import Progress, cache_key, cached_folder, file_sha256
from undercroft.errors import HarnessError

IMAGE_NAME = "payload.ext4"
MOUNT_POINT = PurePosixPath("opt/undercroft")
_PACKAGE_FOLDER = Path(__file__).parents[1]
# Parts of the package that run on the host only. Leaving them out means that
# editing them restarts no board.
_HOST_ONLY = frozenset(
    {
        "_board",
        "_build.py",
        "_cli",
        "_debian.py",
        "_host.py",
        "_import",
        "_models",
        "_planner",
    }
)
_KEPT_PAYLOADS = 6
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Payload:
    """The files of a payload disk: path below the mount point to host file."""

    files: Mapping[str, Path]

    @classmethod
    def collect(
        cls,
        *,
        build_folder: Path | None,
        extra: Mapping[str, Path] | None = None,
        package_folder: Path = _PACKAGE_FOLDER,
    ) -> Payload:
        """Gather the files that exist now.

        Args:
            build_folder: Where ``make`` leaves the Trusted Applications
                (``ta/*.ta``) and the engine for the board
                (``engine-aarch64/*.so``); None when there is none.
            extra: More files: path below the mount point to host file.
            package_folder: The Python package to copy.

        Raises:
            HarnessError: An extra path is not relative, or its file is absent.
        """
        files = {"init": GUEST_FILES / "init.sh"}
        for path in _package_files(package_folder):
            relative = path.relative_to(package_folder)
            files[f"python/undercroft/{relative.as_posix()}"] = path
        if build_folder is not None:
            for path in sorted((build_folder / "ta").glob("*.ta")):
                files[f"ta/{path.name}"] = path
            for path in sorted((build_folder / "engine-aarch64").glob("*.so")):
                files[f"lib/{path.name}"] = path
        for name, path in (extra or {}).items():
            place = PurePosixPath(name)
            if place.is_absolute() or ".." in place.parts or not place.parts:
                raise HarnessError(
                    f"'{name}' is not a path below the board's /{MOUNT_POINT}"
                )
            if not path.is_file():
                raise HarnessError(f"no file {path} to put on the board")
            files[place.as_posix()] = path
        return cls(files)

    def key(self) -> str:
        """Hash the names, contents and permissions of all files."""
        listing = [
            (name, os.access(path, os.X_OK), file_sha256(path))
            for name, path in sorted(self.files.items())
        ]
        return cache_key(_FORMAT, BYTECODE_PACKAGES, listing)

    def build(self, folder: Path, progress: Progress) -> Path:
        """Return the folder that holds the disk image, made when absent.

        Args:
            folder: The cache folder of the board's parts.
            progress: Told when there is work to do.

        Raises:
            EnvironmentMissingError: A host tool is missing.
            HarnessError: A module does not compile, or the disk is full.
        """

        def build(scratch: Path) -> dict[str, Any]:
            progress("payload disk: copying our own programs for the board")
            return self._build(scratch)

        built = cached_folder(folder / f"payload-{self.key()}", build)
        # The time of last use decides which old payloads go first.
        os.utime(built)
        _prune(folder, keep=_KEPT_PAYLOADS)
        return built

    def _build(self, scratch: Path) -> dict[str, Any]:
        root = scratch / "root"
        content = root / MOUNT_POINT
        for name in ("python", "ta", "lib"):
            (content / name).mkdir(parents=True)
        for name, path in self.files.items():
            place = content / name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        compile_trees(root, [str(MOUNT_POINT / "python")])
        make_read_only_image(content, scratch / IMAGE_NAME, label="undercroft-app")
        shutil.rmtree(root)
        return {"files": sorted(self.files)}


def _package_files(package_folder: Path) -> Iterator[Path]:
    for path in sorted(package_folder.rglob("*")):
        parts = path.relative_to(package_folder).parts
        if parts[0] in _HOST_ONLY or "__pycache__" in parts:
            continue
        if path.is_file() and not path.name.startswith("."):
            yield path


def _prune(folder: Path, *, keep: int) -> None:
    """Delete the payloads used longest ago; running boards keep theirs open."""

    def last_use(path: Path) -> float:
        try:
            return path.stat().st_mtime
        except OSError:
            return 0.0

    payloads = sorted(folder.glob("payload-*"), key=last_use, reverse=True)
    for old in payloads[keep:]:
        shutil.rmtree(old, ignore_errors=True)
        (folder / f".{old.name}.lock").unlink(missing_ok=True)
