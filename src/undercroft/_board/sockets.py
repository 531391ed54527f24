# SPDX-License-Identifier: Apache-2.0
"""Unix sockets in a board's folder, whatever the length of its path."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def connect(folder: Path, name: str) -> socket.socket:
    """Connect to the socket ``name`` in ``folder``.

    The path of a Unix socket may have 107 bytes only, so the folder is
    reached through a file descriptor.

    Raises:
        OSError: Nobody listens there.
    """
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"/proc/self/fd/{directory}/{name}")
        except OSError:
            connection.close()
            raise
        return connection
    finally:
        os.close(directory)
