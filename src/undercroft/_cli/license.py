# SPDX-License-Identifier: Apache-2.0
"""`undercroft license`: licenses for devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option, terms_of, terms_options


@click.group()
def command() -> None:
    """Issue and show licenses: the content key of one model, for one device.

    \b
    Example:
      undercroft license issue --model-key model.sealed.key --device device.cert \\
          --key provider.pem -o device.license
    """  # noqa: D301 click wants the character itself


@command.command()
@click.option(
    "--model-key",
    required=True,
    type=click.Path(path_type=Path),
    help="The key file that `undercroft seal` wrote.",
)
@click.option(
    "--device",
    required=True,
    type=click.Path(path_type=Path),
    help="The device's certificate (undercroft enroll).",
)
@click.option(
    "--key",
    required=True,
    type=click.Path(path_type=Path),
    help="The provider key that the model was sealed with.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@terms_options
@json_option
def issue(
    model_key: Path,
    device: Path,
    key: Path,
    output: Path,
    as_json: bool,
    **conditions: Any,  # noqa: ANN401 what terms_options adds
) -> None:
    """Issue a license, with conditions or without.

    A device that has never been told the time refuses a license with a begin or
    an end, unless it is issued --without-time: see undercroft update.

    A device certificate is not authenticated: compare the device id with what
    the device's integrator tells you by another way.

    \b
    Example:
      undercroft license issue --model-key model.sealed.key --device device.cert \\
          --key provider.pem -o device.license --expires 90d --rate 1000/1d
    """  # noqa: D301 click wants the character itself
    from undercroft._format.files import write_file
    from undercroft.enroll import DeviceCertificate
    from undercroft.keys import ModelKey, ProviderKey
    from undercroft.license import License
    from undercroft.license import issue as issue_license

    data = issue_license(
        model_key=ModelKey.load(model_key),
        device=DeviceCertificate.load(device).public_key,
        signing_key=ProviderKey.load(key),
        terms=terms_of(conditions),
    )
    write_file(output, data)
    facts = License.parse(data).inspect()
    if as_json:
        print_json({"path": str(output), **facts})
        return
    click.echo(
        f"{output}: license for model {facts['model_id']}\n"
        f"on device {facts['device_id']}"
    )
    for name, value in facts["terms"].items():
        click.echo(f"{name.replace('_', ' ')}: {value}")


@command.command()
@click.argument("license_file", metavar="LICENSE", type=click.Path(path_type=Path))
@click.option(
    "--provider",
    type=click.Path(path_type=Path),
    help="Public key (PEM) of the provider that must have signed it.",
)
@json_option
def show(license_file: Path, provider: Path | None, as_json: bool) -> None:
    """Verify LICENSE and show what anybody can learn from it.

    \b
    Example: undercroft license show device.license --provider provider.pub
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderPublicKey
    from undercroft.license import License

    permit = License.load(license_file)
    permit.verify(ProviderPublicKey.load(provider) if provider is not None else None)
    facts = permit.inspect()
    if as_json:
        print_json(facts)
        return
    for name, value in (facts | facts.pop("terms")).items():
        click.echo(f"{name.replace('_', ' '):<17}{value}")
