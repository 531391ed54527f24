# SPDX-License-Identifier: Apache-2.0
"""The user's cache folder: where it is, who may write to it, and how.

Everything that takes long to make (firmware, disk images, unpacked Debian
packages) is made once, in a folder whose name is a hash of what went in. A
folder appears there whole or not at all: it is written next to its final
place and renamed, so an interrupted build leaves nothing that looks finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from undercroft.errors import HarnessError

Progress = Callable[[str], None]
"""Called with a sentence when work begins that takes more than a moment."""

KEY_LENGTH = 16
"""Hexadecimal digits of a cache key: 64 bits, plenty for a few hundred folders."""

MANIFEST_NAME = "manifest.json"
"""The file that marks a finished folder and says what went into it."""


def cache_root() -> Path:
    """Return the cache folder, creating it readable by its owner only.

    ``UNDERCROFT_CACHE`` names it outright; else it is ``undercroft`` in
    ``XDG_CACHE_HOME`` or in ``~/.cache``.

    Raises:
        HarnessError: The folder cannot be created.
    """
    override = os.environ.get("UNDERCROFT_CACHE")
    if override:
        root = Path(override).expanduser().absolute()
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        root = Path(base).expanduser().absolute() / "undercroft"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"the cache folder {root} cannot be created: {error.strerror}",
            hint="set UNDERCROFT_CACHE to a folder that you may write to",
        ) from error
    return root


def cache_key(*parts: object) -> str:
    """Hash JSON-serialisable parts into a short, stable key."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextlib.contextmanager
def locked(path: Path, *, timeout_seconds: float = 900.0) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` between processes and threads.

    Args:
        path: The lock file; created when absent and left in place.
        timeout_seconds: How long to wait for another holder.

    Raises:
        HarnessError: Somebody else still held the lock at the deadline.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise HarnessError(
                        f"another process has held {path} for more than "
                        f"{timeout_seconds:.0f} s",
                        hint="wait for the other undercroft command, or end it",
                    ) from None
                time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return a finished folder's manifest, or None when it is not finished."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def cached_folder(
    folder: Path,
    build: Callable[[Path], dict[str, Any]],
    *,
    refresh: bool = False,
) -> Path:
    """Return ``folder``, building it first when it is not there.

    Args:
        folder: The final place; its name carries the key.
        build: Fills the empty folder it is given and returns the manifest.
        refresh: Build again even when the folder is there.

    Raises:
        HarnessError: The disk is full or not writable, or the build failed.
    """
    if not refresh and read_manifest(folder) is not None:
        return folder
    with locked(folder.parent / f".{folder.name}.lock"):
        # Somebody else may have built it while this process waited.
        if not refresh and read_manifest(folder) is not None:
            return folder
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            manifest = build(scratch)
            (scratch / MANIFEST_NAME).write_text(
                json.dumps(manifest, indent=1, sort_keys=True) + "\n"
            )
            if folder.exists():
                shutil.rmtree(folder)
            scratch.rename(folder)
        except OSError as error:
            raise HarnessError(
                f"{folder} could not be written: {error}",
                hint="check the space left on that disk and its permissions",
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder
