# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of Debian's package, in a temporary folder, for tests only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USER = "undercroft"
_BINARIES = Path("/usr/lib/postgresql")
_SECONDS = 120


class Postgres:
    """A server that is stopped, killed and started again at will."""

    def __init__(self, folder: Path, *, fsync: bool) -> None:
        """Make a cluster in an empty folder, and start it."""
        self._data = folder / "data"
        self._log = folder / "log"
        self._settings = (
            "-c listen_addresses=127.0.0.1 -c unix_socket_directories= "
            f"-c max_connections=60 -c fsync={'on' if fsync else 'off'}"
        )
        if os.geteuid() == 0:  # as which PostgreSQL refuses to run
            shutil.chown(folder, "postgres", "postgres")
        self._run(
            *("initdb", "-D", str(self._data), "--no-sync", "-A", "trust"),
            *("-U", USER, "-E", "UTF8", "--locale", "C"),
        )
        self._port = _free_port()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self._port}/{database}"

    def create(self, database: str) -> str:
        """Make a database; return its URL."""
        self._run(
            *("createdb", "-h", "127.0.0.1", "-p", str(self._port)),
            *("-U", USER, database),
        )
        return self.url(database)

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = f"{self._settings} -c port={self._port}"
        self._control("start", "-l", str(self._log), "-o", options, "-w")

    def stop(self, how: str = "immediate") -> None:
        """Stop it: `immediate` ends all processes as a crash would."""
        self._control("stop", "-m", how, "-w")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), *arguments)

    def _run(self, name: str, *arguments: str) -> None:
        identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            identity = {"user": "postgres", "group": "postgres", "extra_groups": []}
        done = subprocess.run(
            [_binary(name), *arguments],
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            # Not a pipe: the server inherits it and would keep it open.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
            **identity,
        )
        log = self._log.read_text() if self._log.exists() else ""
        assert done.returncode == 0, f"{name} {arguments}: {done.returncode}\n{log}"


@contextmanager
def running_postgres(*, fsync: bool = False) -> Iterator[Postgres]:
    """Run a server until the block ends.

    Args:
        fsync: have commits reach the disk. Without, they survive a killed server,
            and not a machine without power.
    """
    folder = Path(tempfile.mkdtemp(prefix="undercroft-postgres-"))
    try:
        server = Postgres(folder, fsync=fsync)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _binary(name: str) -> str:
    found = sorted(_BINARIES.glob(f"*/bin/{name}"))
    assert found, f"PostgreSQL is not installed ({name}): make setup"
    return str(found[-1])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
