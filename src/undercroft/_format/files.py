# SPDX-License-Identifier: Apache-2.0
"""Reading and writing whole files without leaving half of one behind."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from undercroft.errors import FileAccessError, FileWriteError, FormatError

Message = TypeVar("Message")
PUBLIC_MODE: Final = 0o644
SECRET_MODE: Final = 0o600
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def atomic_file(
    path: Path, *, mode: int = PUBLIC_MODE, overwrite: bool = True
) -> Iterator[BinaryIO]:
    """Write a file that appears whole or not at all.

    The bytes go to a hidden file in the same folder, which takes the name `path`
    once everything is on the disk. Whatever ends the block early (an error, a
    full disk, Ctrl-C) removes it and leaves an older `path` as it was.

    Args:
        path: the final name.
        mode: its permissions, from the first byte on, less the process's umask.
        overwrite: whether an existing file may be replaced.

    Raises:
        FileWriteError: it cannot be written, the disk is full, or it exists.
    """
    scratch: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        scratch = Path(name)
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fchmod(descriptor, mode & ~_umask())
            os.fsync(descriptor)
        if overwrite:
            scratch.replace(path)
            scratch = None
        else:
            # A hard link, unlike a rename, fails when the name is taken.
            os.link(scratch, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _write_error(path, error) from error
    finally:
        if scratch is not None:
            with contextlib.suppress(OSError):
                scratch.unlink()


def write_file(
    path: Path, data: bytes, *, mode: int = PUBLIC_MODE, overwrite: bool = True
) -> None:
    """Write a small file atomically; see `atomic_file`."""
    with atomic_file(path, mode=mode, overwrite=overwrite) as stream:
        stream.write(data)


def read_small_file(path: Path, *, limit_bytes: int, what: str) -> bytes:
    """Read a file that has a largest size.

    Args:
        path: the file.
        limit_bytes: its largest size.
        what: what it is, for messages: "license".

    Raises:
        FileAccessError: missing or unreadable.
        FormatError: larger than the limit.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit_bytes + 1)
    except OSError as error:
        raise read_error(path, error) from error
    if len(data) > limit_bytes:
        raise FormatError(
            f"{path} is not a {what}: it has more than {limit_bytes} bytes",
            hint=f"check that this is the {what} and not another file",
        )
    return data


def read_message(
    path: Path,
    *,
    limit_bytes: int,
    what: str,
    parse: Callable[[bytes], Message],
    hint: str,
) -> Message:
    """Read a small file and take it apart.

    Args:
        path: the file.
        limit_bytes: its largest size.
        what: what it is, for messages: "license".
        parse: takes it apart.
        hint: where such a file comes from, for one that is another.

    Raises:
        FileAccessError: missing or unreadable.
        FormatError: it is none.
    """
    data = read_small_file(path, limit_bytes=limit_bytes, what=what)
    try:
        return parse(data)
    except FormatError as error:
        raise FormatError(f"{path}: {error.message}", hint=hint) from error


def read_secret_file(path: Path, *, limit_bytes: int, what: str) -> bytes:
    """Read a small file that nobody but its owner may be able to read.

    Raises:
        FileAccessError: missing, unreadable, or open to others.
        FormatError: larger than the limit.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise read_error(path, error) from error
    if mode & 0o077:
        raise FileAccessError(
            f"{path} is a secret and others may read or write it (mode {mode:04o})",
            hint=f"chmod 600 {path}",
        )
    return read_small_file(path, limit_bytes=limit_bytes, what=what)


def read_error(path: Path, error: OSError) -> FileAccessError:
    """Say that a file cannot be read."""
    hint = "check the path"
    if isinstance(error, PermissionError):
        hint = f"check who owns it and its permissions: ls -l {path}"
    return FileAccessError(f"{path} cannot be read: {error.strerror}", hint=hint)


def _write_error(path: Path, error: OSError) -> FileWriteError:
    if isinstance(error, FileExistsError):
        return FileWriteError(
            f"{path} exists already and is not overwritten",
            hint="choose another name, or move the existing file away",
        )
    hint = "check the folder and its permissions"
    if error.errno in _DISK_FULL:
        hint = "make room on that disk or choose another folder"
        with contextlib.suppress(OSError):
            disk = os.statvfs(path.parent)
            free = disk.f_bavail * disk.f_frsize
            hint += f"; {free / 2**20:.1f} MiB are free in {path.parent.absolute()}"
    return FileWriteError(
        f"{path} cannot be written: {error.strerror}; nothing was left behind",
        hint=hint,
    )


def _umask() -> int:
    # There is no way to read the umask other than to set it.
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
