# SPDX-License-Identifier: Apache-2.0
"""Starts and stops one emulated machine.

Start: QEMU is launched paused and detached, proves itself over its control
socket, is let run, and is watched until its agent answers. Stop: flush, ask
QEMU to quit, wait, kill. Every wait has a deadline; the first cause of a
failure is the one reported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import re
import select
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from undercroft._board import control, qemu
from undercroft._board.boot import STAGE_TEXT, BootWatch, Stage
from undercroft._board.ext4 import make_empty_image
from undercroft._board.failures import (
    AgentFailedError,
    BoardDiedError,
    BootTimeoutError,
    GuestCommandError,
    PortInUseError,
)
from undercroft._board.images import Images
from undercroft._board.process import ProcessId
from undercroft._board.qmp import Qmp, QmpClosedError
from undercroft._board.recipe import LARGE_STATE_BYTES, STATE_BYTES
from undercroft._board.sockets import connect
from undercroft._board.state import STATE_NAME, BoardInfo, board_folder, write_state
from undercroft._cache import Progress
from undercroft._host import find_tool, last_lines, require_tools
from undercroft.errors import HarnessError

QEMU_LOG = "qemu.log"
HEALTH_PATH = "/v2/health/live"
BOOT_SECONDS = {qemu.Clock.REAL: 240.0, qemu.Clock.INSTRUCTIONS: 480.0}
"""Deadline of a start, generous: a loaded machine is no failure."""

_QMP_SECONDS = 20.0
_QUIT_SECONDS = 5.0
_SYNC_SECONDS = 5.0
_PROBE_EVERY_SECONDS = 0.2
_PROBE_SECONDS = 3.0
_FORWARD_LINE = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s")
_PASSING_FILES = (
    STATE_NAME,
    qemu.CONSOLE_SOCKET,
    qemu.CONTROL_SOCKET,
    qemu.QMP_SOCKET,
    qemu.RAM_LINK,
)
# Python warns about, and forgets to reap, a child whose object is collected.
_children: list[subprocess.Popen[bytes]] = []


def start(
    name: str,
    images: Images,
    *,
    clock: qemu.Clock,
    host_port: int,
    extra: Mapping[str, Path],
    large: bool = False,
    timeout_seconds: float | None,
    progress: Progress,
) -> BoardInfo:
    """Start a board that is not running and wait until it is ready.

    Args:
        name: The board's name.
        images: What it boots from.
        clock: What drives its time.
        host_port: Port on the host's loopback interface; 0 for a free one.
        extra: Remembered in the board's state file.
        large: Whether it gets memory and a disk for large networks. A smaller disk
            that it has is made anew, and what was on it is gone.
        timeout_seconds: Deadline of the whole start; None for the default.
        progress: Told each stage reached.

    Raises:
        EnvironmentMissingError: QEMU is not installed.
        PortInUseError: The wanted port is taken.
        BoardDiedError: QEMU ended; carries its words.
        KernelPanicError: Linux panicked.
        SecureWorldMissingError: Linux found no OP-TEE.
        AgentFailedError: The agent ended.
        BootTimeoutError: None of these, and the deadline passed.
    """
    require_tools([qemu.PROGRAM, "mke2fs"], purpose="run the emulated board")
    if host_port:
        check_port_free(host_port)
    folder = prepare_folder(name, large=large)
    machine = qemu.Machine(
        images=images,
        state_image=folder / qemu.STATE_IMAGE,
        clock=clock,
        host_port=host_port,
        boot_time=int(time.time()),
        large=large,
    )
    started = time.monotonic()
    deadline = started + (timeout_seconds or BOOT_SECONDS[clock])
    process = _launch(qemu.arguments(machine), folder)
    paused = BoardInfo(
        name=name,
        pid=process.pid,
        start_ticks=process.start_ticks,
        port=0,
        clock=clock.value,
        images_key=images.key,
        folder=folder,
        root_image=images.root,
        payload_image=images.payload,
        large=large,
        extra={place: str(path) for place, path in extra.items()},
    )
    try:
        ready = _bring_up(paused, deadline, progress)
        ready = dataclasses.replace(
            ready, boot_seconds=round(time.monotonic() - started, 2)
        )
        write_state(ready)
    except BaseException:
        process.kill()
        process.wait(_QUIT_SECONDS)
        _remove_passing_files(folder)
        raise
    return ready


def stop(info: BoardInfo) -> None:
    """Stop a board in order: flush its disk, quit, wait, kill.

    Raises:
        HarnessError: The process does not end even when killed.
    """
    process = info.process
    if process.is_alive():
        if info.ready:
            # What the secure world stored lies in Linux's write cache.
            with contextlib.suppress(GuestCommandError):
                control.run(
                    info.folder,
                    "sync",
                    timeout_seconds=_SYNC_SECONDS,
                    is_alive=process.is_alive,
                )
        with (
            contextlib.suppress(HarnessError),
            Qmp.open(
                info.folder, qemu.QMP_SOCKET, timeout_seconds=_QUIT_SECONDS
            ) as qmp,
        ):
            qmp.command("quit")
        if not process.wait(_QUIT_SECONDS):
            process.kill()
            if not process.wait(_QUIT_SECONDS):
                raise HarnessError(
                    f"QEMU (process {info.pid}) of board '{info.name}' does not end"
                )
    _remove_passing_files(info.folder)


def check_port_free(port: int) -> None:
    """Check that nobody listens on a port of the loopback interface.

    Raises:
        PortInUseError: Somebody does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUseError(
                f"port {port} on 127.0.0.1 cannot be used: {error.strerror}",
                hint="choose another with --port, or leave it out to get a free one",
            ) from error


def prepare_folder(name: str, *, large: bool = False) -> Path:
    """Make a board's private folder ready for a start.

    Its state disk stays as it is, and is made when absent or too small.

    Raises:
        HarnessError: The folder or the disk could not be made.
    """
    folder = board_folder(name)
    try:
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        _remove_passing_files(folder)
        for log in (qemu.CONSOLE_LOG, qemu.SECURE_LOG, qemu.AGENT_LOG, QEMU_LOG):
            (folder / log).write_bytes(b"")
        state = folder / qemu.STATE_IMAGE
        size_bytes = LARGE_STATE_BYTES if large else STATE_BYTES
        if not state.exists() or state.stat().st_size < size_bytes:
            scratch = state.with_suffix(".new")
            make_empty_image(scratch, size_bytes, label="undercroft-state")
            scratch.replace(state)
    except OSError as error:
        raise HarnessError(
            f"the board's folder {folder} cannot be written: {error.strerror}",
            hint="check the space left on that disk and its permissions",
        ) from error
    return folder


def answers(port: int, *, timeout_seconds: float = _PROBE_SECONDS) -> bool:
    """Tell whether an HTTP server answers sensibly on a loopback port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _bring_up(paused: BoardInfo, deadline: float, progress: Progress) -> BoardInfo:
    """Let a paused machine run, and follow it until it is ready."""
    folder = paused.folder
    try:
        with _open_qmp(folder, paused.process, deadline) as qmp:
            info = dataclasses.replace(paused, port=_forwarded_port(qmp))
            _link_memory(info)
            # Written before it is ready, so that a board whose starter was
            # killed is found and ended.
            write_state(info)
            with connect(folder, qemu.CONSOLE_SOCKET) as console:
                qmp.command("cont")
                stage = _watch(info, console, deadline, progress)
    except QmpClosedError as error:
        raise _died(folder) from error
    except OSError as error:
        if paused.process.is_alive():
            raise HarnessError(f"the board's folder {folder}: {error}") from error
        raise _died(folder) from error
    return dataclasses.replace(
        info, ready=True, has_agent=stage is Stage.AGENT_STARTING
    )


def _launch(argv: list[str], folder: Path) -> ProcessId:
    program = find_tool(argv[0]) or argv[0]
    with (folder / QEMU_LOG).open("wb") as log:
        try:
            child = subprocess.Popen(
                [program, *argv[1:]],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise BoardDiedError(f"{program} could not start: {error}") from error
    _children[:] = [each for each in _children if each.poll() is None] + [child]
    process = ProcessId.of(child.pid)
    if process is None:
        raise _died(folder)
    return process


def _open_qmp(folder: Path, process: ProcessId, deadline: float) -> Qmp:
    """Connect to QEMU's control socket as soon as it is there."""
    limit = min(deadline, time.monotonic() + _QMP_SECONDS)
    while True:
        try:
            connection = connect(folder, qemu.QMP_SOCKET)
        except OSError as error:
            if not process.is_alive():
                raise _died(folder) from error
            if time.monotonic() > limit:
                raise BootTimeoutError(
                    f"QEMU opened no control socket in {folder}"
                ) from error
            time.sleep(0.02)
        else:
            return Qmp(connection)


def _forwarded_port(qmp: Qmp) -> int:
    """Ask QEMU which host port it forwards to the agent."""
    listing = qmp.command("human-monitor-command", {"command-line": "info usernet"})
    match = _FORWARD_LINE.search(str(listing))
    if match is None:
        raise HarnessError(f"QEMU forwards no port to the board:\n{listing}")
    return int(match[1])


def _link_memory(info: BoardInfo) -> None:
    """Make the machine's memory a file in the board's folder."""
    for descriptor in Path(f"/proc/{info.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(qemu.RAM_DESCRIPTOR):
                info.ram_path.symlink_to(descriptor)
                return
    raise HarnessError("QEMU holds no shared memory for the board")


def _watch(
    info: BoardInfo, console: socket.socket, deadline: float, progress: Progress
) -> Stage:
    """Follow a start until the board is ready; return the stage it ends in."""
    watch = BootWatch()
    told = watch.stage
    progress(STAGE_TEXT[told])
    next_probe = 0.0
    while True:
        readable, _, _ = select.select([console], [], [], _PROBE_EVERY_SECONDS)
        data = console.recv(65536) if readable else b""
        try:
            stage = watch.feed(data)
        except AgentFailedError as error:
            words = last_lines(_read_text(info.agent_log), 10)
            raise AgentFailedError(
                f"{error.message}:\n{words}", hint=error.hint
            ) from error
        if stage is not told:
            told = stage
            progress(STAGE_TEXT[told])
        if stage is Stage.NO_AGENT:
            return stage
        now = time.monotonic()
        if stage is Stage.AGENT_STARTING and now >= next_probe:
            if answers(info.port):
                return stage
            next_probe = time.monotonic() + _PROBE_EVERY_SECONDS
        if (readable and not data) or not info.process.is_alive():
            raise _died(info.folder, watch.last_lines())
        if now > deadline:
            raise _timed_out(info, watch)


def _died(folder: Path, console_lines: str = "") -> BoardDiedError:
    words = last_lines(_read_text(folder / QEMU_LOG), 12)
    return BoardDiedError(
        "QEMU ended by itself: "
        + (words or "it said nothing")
        + (f"\nlast on the console:\n{console_lines}" if console_lines else ""),
        hint="if an image is damaged, make them anew: undercroft board build --refresh",
    )


def _timed_out(info: BoardInfo, watch: BootWatch) -> BootTimeoutError:
    parts = [
        f"the board was not ready in time; {STAGE_TEXT[watch.stage]}",
        "last on the console:",
        watch.last_lines(10) or "(nothing)",
        "last of OP-TEE:",
        last_lines(_read_text(info.secure_log), 5) or "(nothing)",
    ]
    if watch.stage is Stage.AGENT_STARTING:
        parts += ["last of the agent:", last_lines(_read_text(info.agent_log), 10)]
    return BootTimeoutError(
        "\n".join(parts),
        hint="on a loaded machine allow more with --timeout; see undercroft board log",
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _remove_passing_files(folder: Path) -> None:
    for name in _PASSING_FILES:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
