# SPDX-License-Identifier: Apache-2.0
"""Write a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from undercroft.errors import FileWriteError


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: The file; its folder is made when it does not exist.
        data: The whole content.

    Raises:
        FileWriteError: The folder cannot be written, or the disk is full.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".write-", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        # Temporary files are private; an exported model is an ordinary file.
        temporary.chmod(0o644)
        temporary.replace(path)
        temporary = None
    except OSError as exc:
        raise FileWriteError(
            f"cannot write {path}: {exc.strerror}",
            hint="check the space left on that disk and its permissions",
        ) from exc
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
