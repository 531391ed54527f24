# SPDX-License-Identifier: Apache-2.0
"""`undercroft board`: the emulated TrustZone board."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option

if TYPE_CHECKING:
    from undercroft._board import BoardInfo

_ESCAPE = b"\x1d"  # Ctrl-]
_FOLLOW_SECONDS = 0.3

Function = TypeVar("Function", bound=Callable[..., Any])


def _name_option(function: Function) -> Function:
    return click.option(
        "--name",
        default="default",
        show_default=True,
        help="Which board; several run side by side.",
    )(function)


@click.group()
def command() -> None:
    """Build, start and stop the emulated TrustZone board.

    It is a QEMU machine with Arm's secure world, running Debian's OP-TEE and
    Linux. It demonstrates and tests; its keys are no secret.

    \b
    Example:
      undercroft board up
      undercroft board shell -c "ls -l /dev/tee0"
      undercroft board down
    """  # noqa: D301 click wants the character itself


@command.command()
@click.option(
    "--refresh",
    is_flag=True,
    help="Fetch Debian's packages again and assemble every part anew.",
)
@json_option
def build(refresh: bool, as_json: bool) -> None:
    """Assemble the board's images; nothing to do when nothing changed.

    \b
    Example: undercroft board build
    """  # noqa: D301 click wants the character itself
    from undercroft import _board

    started = time.monotonic()
    with _progress(as_json) as tell:
        images = _board.build_images(refresh=refresh, progress=tell)
    seconds = round(time.monotonic() - started, 2)
    if as_json:
        print_json(
            {
                "key": images.key,
                "seconds": seconds,
                "images": [str(path) for path in images.all()],
                "parts": images.manifests(),
            }
        )
    else:
        click.echo(f"images are ready in {images.root.parents[1]} ({seconds:.1f} s)")


@command.command()
@_name_option
@click.option(
    "--clock",
    type=click.Choice(["real", "instructions"]),
    help="What drives the board's time: the host's clock, or one nanosecond an "
    "instruction, for measuring. Default: as it runs, else real.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Port of the agent on 127.0.0.1. Default: a free one.",
)
@click.option(
    "--large/--usual-size",
    default=None,
    help="Memory and a disk for networks of hundreds of megabytes; becoming large "
    "empties the disk. Default: as it runs, else the usual size.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Deadline of the start. Default: 240, or 480 with --clock instructions.",
)
@json_option
def up(
    name: str,
    clock: str | None,
    port: int | None,
    large: bool | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Start the board, or restart it when our programs on it changed.

    It goes on running until `undercroft board down`.

    \b
    Example: undercroft board up --clock instructions
    """  # noqa: D301 click wants the character itself
    from undercroft import _board

    started = time.monotonic()
    with _progress(as_json) as tell:
        info = _board.ensure_up(
            name,
            clock=clock,
            port=port,
            large=large,
            timeout_seconds=timeout,
            progress=tell,
        )
    if as_json:
        print_json(info.record())
        return
    seconds = time.monotonic() - started
    where = info.url if info.has_agent else "without an agent"
    click.echo(f"board '{name}' is up: {where} ({seconds:.1f} s)")


@command.command()
@_name_option
@click.option("--all", "all_boards", is_flag=True, help="Stop every board.")
@click.option(
    "--wipe",
    is_flag=True,
    help="Delete the board's disk as well: device keys, models, logs.",
)
@json_option
def down(name: str, all_boards: bool, wipe: bool, as_json: bool) -> None:
    """Stop the board. Its disk stays, unless --wipe is given.

    \b
    Example: undercroft board down --all
    """  # noqa: D301 click wants the character itself
    from undercroft import _board

    names = _board.names() if all_boards else [name]
    stopped = [each for each in names if _board.down(each, wipe=wipe)]
    if as_json:
        print_json({"stopped": stopped, "wiped": names if wipe else []})
    elif stopped:
        click.echo(f"stopped: {', '.join(stopped)}")
    else:
        click.echo("no board was up")


@command.command()
@click.option("--name", help="Which board. Default: all.")
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show which boards are up and where they answer.

    \b
    Example: undercroft board status --json
    """  # noqa: D301 click wants the character itself
    from rich.console import Console
    from rich.table import Table

    from undercroft import _board

    names = [name] if name else _board.names() or [_board.DEFAULT_NAME]
    boards = [_board.status(each) for each in names]
    if as_json:
        print_json({"boards": [board.record() for board in boards]})
        return
    table = Table("board", "state", "agent", "clock", "process", box=None)
    for board in boards:
        info = board.info
        if info is None:
            table.add_row(board.name, board.state, "-", "-", "-")
            continue
        agent = info.url if board.answers else f"{info.url} does not answer"
        table.add_row(
            board.name,
            board.state,
            agent if info.has_agent else "none",
            info.clock,
            str(info.pid),
        )
    Console(soft_wrap=True).print(table)


@command.command()
@_name_option
@click.option("-c", "script", metavar="COMMAND", help="Run this and return its code.")
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Deadline of -c.",
)
@json_option
def shell(name: str, script: str | None, timeout: float, as_json: bool) -> None:
    """Open a root shell on the board's Linux (the normal world).

    Ctrl-] leaves it. With -c one command runs, without the terminal.

    \b
    Example: undercroft board shell -c "cat /proc/cpuinfo"
    """  # noqa: D301 click wants the character itself
    from undercroft import _board

    if script is not None:
        code, output = _board.run_command(name, script, timeout)
        if as_json:
            print_json({"exit_code": code, "output": output})
        else:
            click.echo(output, nl=False)
        sys.exit(code)
    if as_json:
        raise click.UsageError("--json goes with -c")
    if not sys.stdin.isatty():
        raise click.UsageError("the shell needs a terminal; or give a command with -c")
    _attach(_board.require_running(name))


@command.command()
@_name_option
@click.option(
    "--secure",
    "which",
    flag_value="secure",
    help="What OP-TEE printed (the second serial port).",
)
@click.option("--agent", "which", flag_value="agent", help="What the agent printed.")
@click.option("--qemu", "which", flag_value="qemu", help="What QEMU printed.")
@click.option("-n", "--lines", type=click.IntRange(min=1), help="Only the last lines.")
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows; Ctrl-C ends.")
def log(name: str, which: str | None, lines: int | None, follow: bool) -> None:
    """Print a log of the board: Linux's console, or one of the others.

    The logs of a board that is down are those of its last run.

    \b
    Example: undercroft board log --secure -n 20
    """  # noqa: D301 click wants the character itself
    from undercroft import _board

    path = _board.log_path(name, which or "console")
    _print_log(path, lines, follow)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show one changing line on standard error, or nothing."""
    if quiet:
        yield lambda _message: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    started = time.monotonic()
    with console.status("looking at what is there") as line:

        def tell(message: str) -> None:
            if console.is_terminal:
                line.update(message)
            else:
                console.print(f"[{time.monotonic() - started:5.1f} s] {message}")

        yield tell


def _print_log(path: Path, lines: int | None, follow: bool) -> None:
    try:
        with path.open("rb") as stream:
            data = stream.read()
            if lines is not None:
                data = b"".join(data.splitlines(keepends=True)[-lines:])
            _write(data)
            while follow:
                data = stream.read()
                _write(data)
                if not data:
                    time.sleep(_FOLLOW_SECONDS)
    except FileNotFoundError:
        raise click.ClickException(
            f"no log {path}; the board has not been started yet"
        ) from None


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _attach(info: BoardInfo) -> None:
    """Connect this terminal with the board's first serial port."""
    import termios
    import tty

    from undercroft._board.qemu import CONSOLE_SOCKET
    from undercroft._board.sockets import connect

    click.echo(f"board '{info.name}'; Ctrl-] leaves", err=True)
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    with connect(info.folder, CONSOLE_SOCKET) as console:
        try:
            tty.setraw(keyboard)
            console.sendall(b"\n")
            while True:
                ready, _, _ = select.select([keyboard, console], [], [])
                if console in ready:
                    data = console.recv(65536)
                    if not data:
                        break
                    _write(data)
                if keyboard in ready:
                    typed = os.read(keyboard, 1024)
                    if not typed or _ESCAPE in typed:
                        break
                    console.sendall(typed)
        finally:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
    click.echo("", err=True)
