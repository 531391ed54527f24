# SPDX-License-Identifier: Apache-2.0
"""What is written down about a board that runs: one JSON file in its folder."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from undercroft._board import qemu
from undercroft._board.process import ProcessId
from undercroft._cache import cache_root
from undercroft.errors import HarnessError

STATE_NAME = "board.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class BoardInfo:
    """A board that is up: where to reach it and what it runs on."""

    name: str
    pid: int
    start_ticks: int
    port: int
    """Port of the agent on the host's loopback interface."""
    clock: str
    """``real`` or ``instructions``."""
    images_key: str
    """Changes when any image does, our own programs included."""
    folder: Path
    root_image: Path
    payload_image: Path
    extra: dict[str, str]
    """More files on the payload disk: path on the board to host file."""
    large: bool = False
    """Whether it has memory and a disk for networks of hundreds of megabytes."""
    ready: bool = False
    """Whether it came up; else it is starting, or its starter was killed."""
    has_agent: bool = False
    """Whether the payload holds an agent, so that ``url`` answers."""
    boot_seconds: float = 0.0
    """From starting QEMU to the agent's first answer."""

    @property
    def url(self) -> str:
        """Where the board's agent answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ram_path(self) -> Path:
        """The normal world's whole memory, readable as a file while the board is up."""
        return self.folder / qemu.RAM_LINK

    @property
    def state_image(self) -> Path:
        """The board's own disk, ``/var``: secure storage, uploaded models."""
        return self.folder / qemu.STATE_IMAGE

    @property
    def console_log(self) -> Path:
        """All that Linux printed."""
        return self.folder / qemu.CONSOLE_LOG

    @property
    def secure_log(self) -> Path:
        """All that firmware's last stage and OP-TEE printed."""
        return self.folder / qemu.SECURE_LOG

    @property
    def agent_log(self) -> Path:
        """All that the agent and the TEE supplicant printed."""
        return self.folder / qemu.AGENT_LOG

    @property
    def process(self) -> ProcessId:
        """The QEMU process."""
        return ProcessId(self.pid, self.start_ticks)

    def record(self) -> dict[str, Any]:
        """Return the fields as JSON values, with the derived paths."""
        derived = (
            "url",
            "console_log",
            "secure_log",
            "agent_log",
            "ram_path",
            "state_image",
        )
        fields = asdict(self) | {name: getattr(self, name) for name in derived}
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in fields.items()
        }


def boards_folder() -> Path:
    """Return the folder that holds a folder for each board."""
    return cache_root() / "boards"


def board_folder(name: str) -> Path:
    """Return a board's private folder, which may not exist yet.

    Raises:
        HarnessError: The name could not be a folder's name.
    """
    if not _NAME.fullmatch(name):
        raise HarnessError(
            f"'{name}' cannot be the name of a board",
            hint="use up to 32 letters, digits, '.', '_' and '-', a letter or digit "
            "first",
        )
    return boards_folder() / name


def write_state(info: BoardInfo) -> None:
    """Write a board's state file, whole or not at all."""
    path = info.folder / STATE_NAME
    scratch = path.with_suffix(".new")
    fields = asdict(info) | {"format": _FORMAT}
    scratch.write_text(json.dumps(fields, indent=1, default=str) + "\n")
    scratch.replace(path)


def read_state(folder: Path) -> BoardInfo | None:
    """Read a board's state file; None when absent, damaged or of another version.

    The process that it names may be long gone.
    """
    try:
        fields = json.loads((folder / STATE_NAME).read_text())
        if fields.pop("format") != _FORMAT:
            return None
        for name in ("folder", "root_image", "payload_image"):
            fields[name] = Path(fields[name])
        info = BoardInfo(**fields)
        # A folder that was moved or copied does not speak for its old place.
        return info if info.folder.samefile(folder) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def running(name: str) -> BoardInfo | None:
    """Return the board of that name when its process runs, else None."""
    info = read_state(board_folder(name))
    return info if info is not None and info.process.is_alive() else None


def all_boards() -> list[str]:
    """Return the names of all boards that have a folder."""
    try:
        return sorted(
            path.name
            for path in boards_folder().iterdir()
            if path.is_dir() and _NAME.fullmatch(path.name)
        )
    except OSError:
        return []
