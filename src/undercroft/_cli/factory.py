# SPDX-License-Identifier: Apache-2.0
"""`undercroft factory`: a manufacturer vouches for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option, policy_of, policy_options


@click.group()
def command() -> None:
    """Vouch for devices at production: certificates for their attestation keys.

    \b
    Example:
      undercroft factory new "ACME Devices" --key acme.key -o acme.pem
      undercroft factory endorse tee: --key acme.key --manufacturer acme.pem \\
          -o device.pem
    """  # noqa: D301 click wants the character itself


@command.command()
@click.argument("name")
@click.option("--key", required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@json_option
def new(name: str, key: Path, output: Path, as_json: bool) -> None:
    """Make a manufacturer's key and certificate.

    \b
    Example: undercroft factory new "ACME Devices" --key acme.key -o acme.pem
    """  # noqa: D301 click wants the character itself
    from undercroft.factory import Authority

    Authority.create(name).save(key, output)
    if as_json:
        print_json({"key": str(key), "certificate": str(output)})
        return
    click.echo(f"{output}: certificate of {name}; keep {key} where nobody else can go")


@command.command()
@click.argument("device")
@click.option("--key", required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@policy_options
@json_option
def endorse(
    device: str,
    key: Path,
    output: Path,
    as_json: bool,
    **demands: Any,  # noqa: ANN401 what policy_options adds
) -> None:
    """Challenge DEVICE and make a certificate for its attestation key.

    Do this where you control the way to the device and what is installed on it:
    the certificate says that you have seen it. Give one --manufacturer: the
    certificate of --key.

    \b
    Example:
      undercroft factory endorse tee: --key acme.key --manufacturer acme.pem \\
          -o device.pem
    """  # noqa: D301 click wants the character itself
    from dataclasses import replace

    from undercroft.attestation import Evidence
    from undercroft.enroll import enroll
    from undercroft.factory import Authority, save_certificate

    paths = demands["manufacturers"]
    if len(paths) != 1:
        raise click.UsageError("give one --manufacturer: the certificate of --key")
    # Nobody vouches for it yet: that is what is being made.
    demands["allow_unendorsed"] = False
    authority = Authority.load(key, paths[0])
    policy, _ = policy_of(demands)
    certificate = enroll(device, policy=replace(policy, endorsed=False))
    evidence = Evidence.parse(certificate.evidence or b"")
    endorsement = authority.endorse(evidence)
    save_certificate(endorsement, output)
    facts = evidence.inspect()
    if as_json:
        print_json({"path": str(output), **facts})
        return
    click.echo(f"{output}: vouches for device {facts['device_id']}")
