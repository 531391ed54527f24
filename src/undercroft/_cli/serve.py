# SPDX-License-Identifier: Apache-2.0
"""`undercroft serve`: the agent of a device."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--device",
    default="tee:",
    show_default=True,
    metavar="URI",
    help="What to serve: tee:, or host: (no protection).",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen. Everybody who reaches it can use the models.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 takes any free one.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Keeps sealed models and licenses. Default: in your data folder.",
)
@click.option(
    "--load",
    "preload",
    multiple=True,
    metavar="MODEL",
    help="A model of the folder to load at once. May be repeated.",
)
def command(
    device: str, address: str, port: int, folder: Path | None, preload: tuple[str, ...]
) -> None:
    """Serve sealed models over HTTP (Open Inference Protocol v2).

    Existing clients such as tritonclient talk to it as they are. It needs no
    trust and has no secrets, but it does not ask who its clients are either:
    keep it on a network that you know.

    \b
    Example:
      undercroft serve --device host: --port 8080
    """  # noqa: D301 click wants the character itself
    from undercroft._device import open_device
    from undercroft._device.agent import Agent, listen, serve
    from undercroft._device.host import data_folder

    listener = listen(address, port)
    with listener:
        agent = Agent(
            open_device(device), folder or data_folder() / "agent", preload=preload
        )
        host, bound_port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"serving {device} on http://{shown}:{bound_port}", err=True)
        serve(agent, listener)
