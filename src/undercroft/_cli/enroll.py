# SPDX-License-Identifier: Apache-2.0
"""`undercroft enroll`: a device's certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import echo_facts, json_option, policy_of, policy_options


@click.command()
@click.argument("device")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("device.cert"),
    show_default=True,
)
@click.option(
    "--endorsement",
    type=click.Path(path_type=Path),
    help="The manufacturer's certificate (PEM) for this device.",
)
@policy_options
@json_option
def command(
    device: str,
    output: Path,
    endorsement: Path | None,
    as_json: bool,
    **demands: Any,  # noqa: ANN401 what policy_options adds
) -> None:
    """Challenge DEVICE and keep what its licenses are encrypted to.

    DEVICE is board:, tee:, http://HOST:PORT or host:. It answers inside the secure
    world. Its answer must show a release build, a hardware key, and a
    manufacturer that vouches for it, unless told otherwise.

    \b
    Example:
      undercroft enroll http://device:8080 --endorsement device.pem \\
          --manufacturer acme.pem -o device.cert
      undercroft enroll board: --allow-development
    """  # noqa: D301 click wants the character itself
    from undercroft.enroll import enroll
    from undercroft.factory import load_certificate

    policy, manufacturers = policy_of(demands)
    certificate = enroll(
        device,
        policy=policy,
        endorsement=load_certificate(endorsement) if endorsement else None,
        manufacturers=manufacturers,
    )
    certificate.save(output)
    facts = certificate.inspect()
    if as_json:
        print_json({"path": str(output), **facts})
        return
    click.echo(f"{output}: device {facts['device_id']}\n{facts['info']}")
    echo_facts(facts["evidence"], 20)
