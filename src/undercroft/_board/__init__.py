# SPDX-License-Identifier: Apache-2.0
"""The emulated board: a QEMU machine with TrustZone, OP-TEE, Linux and our agent.

    from undercroft import _board

    board = _board.ensure_up(progress=print)
    board.url                     # the agent, on the host's loopback interface
    _board.run_command("default", ["uname", "-a"])
    _board.down()

Boards are told apart by name and live on after this process; each has a
private folder below the cache folder. Nothing here prints or exits.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undercroft._board import control, lifecycle, qemu, state
from undercroft._board.failures import (
    AgentFailedError,
    BoardDiedError,
    BoardNotRunningError,
    BootTimeoutError,
    GuestCommandError,
    KernelPanicError,
    PortInUseError,
    SecureWorldMissingError,
)
from undercroft._board.images import Images, build_images
from undercroft._board.qemu import Clock
from undercroft._board.state import BoardInfo
from undercroft._cache import Progress, locked
from undercroft.errors import HarnessError

__all__ = [
    "DEFAULT_NAME",
    "AgentFailedError",
    "BoardDiedError",
    "BoardInfo",
    "BoardNotRunningError",
    "BoardStatus",
    "BootTimeoutError",
    "Clock",
    "GuestCommandError",
    "Images",
    "KernelPanicError",
    "PortInUseError",
    "SecureWorldMissingError",
    "build_images",
    "down",
    "ensure_up",
    "log_path",
    "names",
    "require_running",
    "run_command",
    "running",
    "status",
]

DEFAULT_NAME = "default"

_LOGS = {
    "console": qemu.CONSOLE_LOG,
    "secure": qemu.SECURE_LOG,
    "agent": qemu.AGENT_LOG,
    "qemu": lifecycle.QEMU_LOG,
}
_BOOT_FAILURES = (
    AgentFailedError,
    BoardDiedError,
    BootTimeoutError,
    KernelPanicError,
    SecureWorldMissingError,
)
# First cause wins: a start that failed in this process, by board, with what
# it was asked for. Asked for the same again, the same error is raised at once
# instead of one more slow and different one.
_failed: dict[str, tuple[object, HarnessError]] = {}


@dataclass(frozen=True, slots=True)
class BoardStatus:
    """What is known about a board without changing anything."""

    name: str
    state: str
    """``up``, ``starting`` or ``down``."""
    answers: bool
    """Whether its agent answered just now."""
    info: BoardInfo | None

    def record(self) -> dict[str, Any]:
        """Return JSON values."""
        fields: dict[str, Any] = {} if self.info is None else self.info.record()
        return fields | {
            "name": self.name,
            "state": self.state,
            "answers": self.answers,
        }


def ensure_up(
    name: str = DEFAULT_NAME,
    *,
    clock: Clock | str | None = None,
    port: int | None = None,
    extra: Mapping[str, Path] | None = None,
    large: bool | None = None,
    timeout_seconds: float | None = None,
    progress: Progress | None = None,
) -> BoardInfo:
    """Return a board that is up and runs the current programs.

    Builds what is missing, starts the board when it is down, and restarts it
    when our programs on it, its images or the wanted settings have changed.

    Args:
        name: The board's name; several run side by side.
        clock: ``real`` or ``instructions``; None takes what is running,
            else ``real``.
        port: Port on the host's loopback interface; None takes what is
            running, else a free one.
        extra: More files to have on the board, path below
            ``/opt/undercroft`` to host file; None takes what is running.
        large: Whether it has memory and a disk for networks of hundreds of
            megabytes; None takes what is running, else it has not. Becoming large
            empties its disk.
        timeout_seconds: Deadline of a start.
        progress: Called with a sentence at each stage.

    Raises:
        EnvironmentMissingError: A host tool is missing.
        HarnessError: Building or starting failed; see
            ``undercroft._board.failures`` for the kinds.
    """
    tell = progress or (lambda _message: None)
    wanted_clock = None if clock is None else _parse_clock(clock)
    folder = state.board_folder(name)
    with locked(folder.parent / f".{name}.lock"):
        current = state.running(name)
        if current is not None and extra is None:
            extra = {place: Path(path) for place, path in current.extra.items()}
        images = build_images(extra=extra, progress=tell)
        clock_now = wanted_clock or (Clock(current.clock) if current else Clock.REAL)
        if current is not None:
            if large is None:
                large = current.large
            reason = _reason_to_restart(current, images, clock_now, port, large)
            if not reason:
                return current
            tell(f"restarting the board: {reason}")
            lifecycle.stop(current)
        asked = (images.key, clock_now, port, large)
        known = _failed.get(name)
        if known is not None and known[0] == asked:
            raise known[1]
        try:
            return lifecycle.start(
                name,
                images,
                clock=clock_now,
                host_port=port or 0,
                extra=extra or {},
                large=large or False,
                timeout_seconds=timeout_seconds,
                progress=tell,
            )
        except _BOOT_FAILURES as error:
            _failed[name] = (asked, error)
            raise


def down(name: str = DEFAULT_NAME, *, wipe: bool = False) -> bool:
    """Stop a board. Its logs and its state disk stay.

    Args:
        name: The board's name.
        wipe: Delete its folder as well: state disk, device keys, logs.

    Returns:
        Whether it was up.

    Raises:
        HarnessError: Its process does not end.
    """
    folder = state.board_folder(name)
    _failed.pop(name, None)
    with locked(folder.parent / f".{name}.lock"):
        current = state.running(name)
        if current is not None:
            lifecycle.stop(current)
        if wipe:
            shutil.rmtree(folder, ignore_errors=True)
    return current is not None


def running(name: str = DEFAULT_NAME) -> BoardInfo | None:
    """Return the board of that name when it is up, else None."""
    info = state.running(name)
    return info if info is not None and info.ready else None


def require_running(name: str = DEFAULT_NAME) -> BoardInfo:
    """Return the board of that name.

    Raises:
        BoardNotRunningError: It is not up.
    """
    info = running(name)
    if info is None:
        raise BoardNotRunningError(
            f"the board '{name}' is not up",
            hint="start it with: undercroft board up"
            + ("" if name == DEFAULT_NAME else f" --name {name}"),
        )
    return info


def names() -> list[str]:
    """Return the names of all boards that were ever up and not wiped."""
    return state.all_boards()


def log_path(name: str = DEFAULT_NAME, which: str = "console") -> Path:
    """Return the path of a board's log, which outlives the run.

    Args:
        name: The board's name.
        which: ``console`` (Linux), ``secure`` (OP-TEE), ``agent`` or ``qemu``.

    Raises:
        HarnessError: There is no such log.
    """
    if which not in _LOGS:
        raise HarnessError(f"no log '{which}': one of {', '.join(_LOGS)}")
    return state.board_folder(name) / _LOGS[which]


def status(name: str = DEFAULT_NAME) -> BoardStatus:
    """Look at a board without changing anything."""
    info = state.running(name)
    if info is None:
        return BoardStatus(name, "down", answers=False, info=None)
    if not info.ready:
        return BoardStatus(name, "starting", answers=False, info=info)
    return BoardStatus(name, "up", answers=lifecycle.answers(info.port), info=info)


def run_command(
    name: str,
    command: str | Sequence[str],
    timeout_seconds: float = 60.0,
) -> tuple[int, str]:
    """Run a command as root in the board's normal world.

    Commands run one after the other, in a console that no person uses.

    Args:
        name: The board's name.
        command: Text for the board's ``sh``, or a list of words.
        timeout_seconds: Deadline.

    Returns:
        The exit code, and stdout with stderr in the order printed.

    Raises:
        BoardNotRunningError: The board is not up.
        GuestCommandError: No answer in time, or the board went away.
    """
    info = require_running(name)
    lock = info.folder / "control.lock"
    with locked(lock, timeout_seconds=timeout_seconds):
        return control.run(
            info.folder,
            command,
            timeout_seconds=timeout_seconds,
            is_alive=info.process.is_alive,
        )


def _parse_clock(clock: Clock | str) -> Clock:
    try:
        return Clock(clock)
    except ValueError:
        names = ", ".join(member.value for member in Clock)
        raise HarnessError(f"no clock '{clock}': one of {names}") from None


def _reason_to_restart(
    current: BoardInfo, images: Images, clock: Clock, port: int | None, large: bool
) -> str:
    """Say why a running board will not do; empty when it will."""
    if not current.ready:
        return "its last start was interrupted"
    if current.images_key != images.key:
        return "our programs or its images have changed"
    if current.clock != clock.value:
        return f"its clock is '{current.clock}', wanted '{clock.value}'"
    if large != current.large:
        return f"wanted {'a large one' if large else 'one of the usual size'}"
    if port and port != current.port:
        return f"it listens on port {current.port}, wanted {port}"
    return ""
