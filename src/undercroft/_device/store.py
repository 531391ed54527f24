# SPDX-License-Identifier: Apache-2.0
"""The agent's folder: sealed models and licenses, by name.

::

    FOLDER/models/NAME/model.sealed
    FOLDER/models/NAME/model.sha256     of model.sealed, written after it
    FOLDER/models/NAME/license
    FOLDER/incoming/                    uploads under way

Files appear whole or not at all. Nothing here is secret, and nothing is trusted:
the secure side verifies what it is given.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

from undercroft._device.faults import RequestError
from undercroft._device.parcel import Parcel
from undercroft._spec import MAX_LICENSE_BYTES
from undercroft.errors import FormatError

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
SESSION_PREFIX: Final = "session-"
"""Models that `InferenceSession` brought along; a cache, the oldest go."""

_KEPT_SESSION_MODELS: Final = 16
_RESERVE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Version:
    """Which files a model had when it was looked at."""

    sealed: tuple[int, int, int]
    license: tuple[int, int, int]


class Upload:
    """A file on its way in. Use as a context manager; unless kept, it goes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._size = 0
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
        self._file: BinaryIO = os.fdopen(descriptor, "wb")
        self.path = Path(name)

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            RequestError: more than is allowed, or the disk is full.
        """
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise too_large(self._size, self._max_bytes)
        self._digest.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise no_room(error.strerror or "write failed") from error

    def finish(self) -> str:
        """Bring everything to the disk and return its SHA-256 in hex."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise no_room(error.strerror or "write failed") from error
        return self._digest.hexdigest()

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


class ModelStore:
    """Sealed models and licenses in a folder."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, create it when missing, drop unfinished uploads.

        Raises:
            RequestError: the folder cannot be made or written.
        """
        self._models = folder / "models"
        self._incoming = folder / "incoming"
        self._parcels: dict[str, tuple[tuple[int, int, int], Parcel]] = {}
        try:
            self._models.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(exist_ok=True)
            for left_over in self._incoming.glob("*.part"):
                left_over.unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(
                HTTPStatus.INSUFFICIENT_STORAGE,
                f"{folder}: {error.strerror}",
                hint="give another --folder",
            ) from error

    def names(self) -> list[str]:
        """Names of all models that have a sealed file."""
        return sorted(
            entry.name
            for entry in self._models.iterdir()
            if (entry / "model.sealed").is_file()
        )

    def sealed_path(self, name: str) -> Path:
        """Where a model's sealed file is, or would be."""
        return self._folder(name) / "model.sealed"

    def parcel(self, name: str) -> Parcel:
        """What anybody can read of a model.

        Raises:
            RequestError: no such model.
            FormatError: damaged.
        """
        path = self.sealed_path(name)
        signature = _signature(path)
        if signature is None:
            raise unknown_model(name)
        known = self._parcels.get(name)
        if known is None or known[0] != signature:
            known = (signature, Parcel.read(path))
            self._parcels[name] = known
        return known[1]

    def license(self, name: str) -> bytes:
        """A model's license.

        Raises:
            RequestError: no such model, or no license for it.
        """
        path = self._folder(name) / "license"
        try:
            with path.open("rb") as file:
                return file.read(MAX_LICENSE_BYTES + 1)
        except OSError as error:
            raise RequestError(
                HTTPStatus.CONFLICT,
                f"model {name!r} has no license on this device",
                hint=f"PUT it to /v2/undercroft/models/{name}/license",
            ) from error

    def sha256(self, name: str) -> str | None:
        """SHA-256 of a model's sealed file, in hex, or None."""
        folder = self._folder(name)
        try:
            digest = (folder / "model.sha256").read_text().strip()
        except (OSError, UnicodeDecodeError):
            return None
        return digest if (folder / "model.sealed").is_file() else None

    def has_license(self, name: str) -> bool:
        """Whether a license lies beside the model."""
        return (self._folder(name) / "license").is_file()

    def version(self, name: str) -> Version:
        """Which files a model has now; differs after each upload."""
        folder = self._folder(name)
        absent = (0, 0, 0)
        return Version(
            _signature(folder / "model.sealed") or absent,
            _signature(folder / "license") or absent,
        )

    def receive(self, max_bytes: int, declared_bytes: int | None) -> Upload:
        """Begin an upload.

        Args:
            max_bytes: the most that is accepted.
            declared_bytes: what the client said it will send.

        Raises:
            RequestError: too large, or no room on the disk.
        """
        if declared_bytes is not None:
            if declared_bytes > max_bytes:
                raise too_large(declared_bytes, max_bytes)
            self._make_room(declared_bytes + _RESERVE_BYTES)
        try:
            return Upload(self._incoming, max_bytes)
        except OSError as error:
            raise no_room(error.strerror or "create failed") from error

    def install_sealed(self, name: str, upload: Upload) -> str:
        """Put a finished upload in place and return its SHA-256 in hex.

        Raises:
            FormatError: it is not a sealed model; the one in place stays.
        """
        digest = upload.finish()
        try:
            Parcel.read(upload.path)
        except FormatError as error:
            # The path is the agent's own and tells the client nothing.
            message = error.message.replace(upload.path.name, "the upload")
            raise FormatError(message, hint=error.hint) from None
        folder = self._folder(name)
        try:
            folder.mkdir(exist_ok=True)
            (folder / "model.sha256").unlink(missing_ok=True)
            upload.path.replace(folder / "model.sealed")
            note = self._incoming / f"{upload.path.name}.sha256.part"
            note.write_text(digest)
            note.replace(folder / "model.sha256")
        except OSError as error:
            raise no_room(error.strerror or "rename failed") from error
        return digest

    def install_license(self, name: str, upload: Upload) -> str:
        """Put a finished upload in place and return its SHA-256 in hex."""
        digest = upload.finish()
        folder = self._folder(name)
        try:
            folder.mkdir(exist_ok=True)
            upload.path.replace(folder / "license")
        except OSError as error:
            raise no_room(error.strerror or "rename failed") from error
        return digest

    def remove(self, name: str) -> None:
        """Delete a model and its license.

        Raises:
            RequestError: no such model.
        """
        folder = self._folder(name)
        if not folder.is_dir():
            raise unknown_model(name)
        shutil.rmtree(folder, ignore_errors=True)
        self._parcels.pop(name, None)

    def trim(self, in_use: set[str]) -> None:
        """Delete the oldest session models beyond those that are kept."""
        for name in self._session_models()[_KEPT_SESSION_MODELS:]:
            if name not in in_use:
                self.remove(name)

    def _session_models(self) -> list[str]:
        aged = []
        for folder in self._models.glob(f"{SESSION_PREFIX}*"):
            with suppress(OSError):
                aged.append((folder.stat().st_mtime_ns, folder.name))
        return [name for _, name in sorted(aged, reverse=True)]

    def _make_room(self, needed_bytes: int) -> None:
        # An unlinked file that a loaded model still reads gives its room back
        # only later; then the upload is refused and the next one finds room.
        for name in reversed(self._session_models()):
            if shutil.disk_usage(self._models).free >= needed_bytes:
                return
            self.remove(name)
        free = shutil.disk_usage(self._models).free
        if free < needed_bytes:
            raise no_room(f"{needed_bytes} bytes are needed and {free} are free")

    def _folder(self, name: str) -> Path:
        if not NAME_PATTERN.fullmatch(name) or name in {".", ".."}:
            raise RequestError(
                HTTPStatus.BAD_REQUEST,
                f"{name[:80]!r} is not a model name",
                hint="1 to 64 letters, digits, dots, underscores and hyphens",
            )
        return self._models / name


def unknown_model(name: str) -> RequestError:
    """The error for a model that is not in the folder."""
    return RequestError(
        HTTPStatus.NOT_FOUND,
        f"there is no model {name!r} on this device",
        hint=f"PUT it to /v2/undercroft/models/{name}/sealed",
    )


def too_large(size_bytes: int, max_bytes: int) -> RequestError:
    """The error for a body that is larger than allowed."""
    return RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the request has {size_bytes} bytes or more; {max_bytes} are allowed",
    )


def no_room(what: str) -> RequestError:
    """The error for a full disk."""
    return RequestError(
        HTTPStatus.INSUFFICIENT_STORAGE,
        f"the device cannot store the upload: {what}",
        hint="delete models that are no longer needed",
    )


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)
