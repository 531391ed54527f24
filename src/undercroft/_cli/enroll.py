# SPDX-License-Identifier: Apache-2.0
"""`undercroft enroll`: a device's certificate."""

from __future__ import annotations

from pathlib import Path

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option


@click.command()
@click.argument("device")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("device.cert"),
    show_default=True,
)
@json_option
def command(device: str, output: Path, as_json: bool) -> None:
    """Get the certificate of DEVICE: what its licenses are encrypted to.

    DEVICE is board:, tee:, http://HOST:PORT or host:. The certificate is what
    the device's normal world hands over and is not authenticated; do this where
    you control the way to the device, or compare the device id by another way.

    \b
    Example: undercroft enroll board: -o device.cert
    """  # noqa: D301 click wants the character itself
    from undercroft.enroll import enroll

    certificate = enroll(device)
    certificate.save(output)
    facts = certificate.inspect()
    if as_json:
        print_json({"path": str(output), **facts})
        return
    click.echo(f"{output}: device {facts['device_id']}\n{facts['info']}")
