# SPDX-License-Identifier: Apache-2.0
"""`undercroft license`: licenses for devices."""

from __future__ import annotations

import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    echo_facts,
    json_option,
    key_option,
    signer_of,
    terms_of,
    terms_options,
)

if TYPE_CHECKING:
    from undercroft.license import LicenseTerms


@click.group()
def command() -> None:
    """Issue, revoke and show licenses: the content key of one model, for one device.

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
    type=click.Path(path_type=Path),
    help="The device's certificate (undercroft enroll).",
)
@click.option(
    "--devices",
    type=click.Path(path_type=Path),
    help="Instead: a list of devices (CSV), for a file of licenses. An interrupted "
    "run is continued by running it again.",
)
@click.option(
    "--partial",
    is_flag=True,
    help="With --devices: issue for the good lines although others have errors.",
)
@key_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@terms_options
@json_option
def issue(
    model_key: Path,
    device: Path | None,
    devices: Path | None,
    partial: bool,
    key: str,
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
      undercroft license issue --model-key model.sealed.key --devices devices.csv \\
          --key provider.pem -o licenses.jsonl --expires 90d
    """  # noqa: D301 click wants the character itself
    if (device is None) == (devices is None):
        raise click.UsageError("give --device, or --devices for a list")
    terms = terms_of(conditions)
    if devices is not None:
        _issue_all(devices, output, model_key, key, terms, partial, as_json)
        return
    if partial:
        raise click.UsageError("--partial goes with --devices")
    assert device is not None  # noqa: S101 said above
    from undercroft._format.files import write_file
    from undercroft.enroll import DeviceCertificate
    from undercroft.keys import ModelKey
    from undercroft.license import License
    from undercroft.license import issue as issue_license

    data = issue_license(
        model_key=ModelKey.load(model_key),
        device=DeviceCertificate.load(device).public_key,
        signing_key=signer_of(key),
        terms=terms,
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


def _issue_all(
    devices: Path,
    output: Path,
    model_key: Path,
    key: str,
    terms: LicenseTerms,
    partial: bool,
    as_json: bool,
) -> None:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from undercroft.bulk import issue_all
    from undercroft.keys import ModelKey

    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} licenses"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("licenses", total=None)
        report = issue_all(
            devices,
            output,
            model_key=ModelKey.load(model_key),
            signing_key=signer_of(key),
            terms=terms,
            partial=partial,
            progress=lambda done: progress.update(task, completed=done),
        )
    for problem in report.problems:
        click.echo(f"warning: {problem}; no license", err=True)
    if as_json:
        print_json(
            {
                "path": str(output),
                "issued": report.issued,
                "already": report.already,
                "problems": [
                    {"line": item.line, "text": item.text} for item in report.problems
                ],
                "bytes": report.bytes,
            }
        )
    else:
        click.echo(
            f"{output}: {report.issued:,} licenses issued, {report.already:,} were "
            "there already"
        )
    if report.problems:
        sys.exit(1)


@command.command()
@click.option(
    "--model-key",
    required=True,
    type=click.Path(path_type=Path),
    help="The key file of the model (undercroft seal, undercroft reseal).",
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Only on this device (its certificate); on all without. May be repeated.",
)
@click.option(
    "--floor",
    type=click.IntRange(0, 2**32 - 1),
    metavar="VERSION",
    help="Versions of the model below this one no longer open either.",
)
@click.option(
    "--version",
    required=True,
    type=click.IntRange(1),
    help="Which update this is: one more than your last one.",
)
@key_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@json_option
def revoke(
    model_key: Path,
    devices: tuple[Path, ...],
    floor: int | None,
    version: int,
    key: str,
    output: Path,
    as_json: bool,
) -> None:
    """Write the update that ends all licenses of a model issued until now.

    It works on devices that take it (undercroft update apply). Licenses that are
    issued afterwards hold. More than one thing in one update: undercroft update new.

    \b
    Example: a lost device; a content key that leaked, after undercroft reseal
      undercroft license revoke --model-key model.sealed.key --device lost.cert \\
          --key provider.pem --version 4 -o 4.update
      undercroft license revoke --model-key model-2.sealed.key --floor 2 \\
          --key provider.pem --version 5 -o 5.update
    """  # noqa: D301 click wants the character itself
    from undercroft._cli.update import write_update
    from undercroft.enroll import DeviceCertificate
    from undercroft.keys import ModelKey
    from undercroft.update import VersionFloor

    model_id = ModelKey.load(model_key).model_id
    lost: list[bytes | None] = [
        DeviceCertificate.load(path).device_id for path in devices
    ]
    facts = write_update(
        output,
        key,
        version=version,
        revoked=[(model_id, device) for device in lost or [None]],
        floors=[] if floor is None else [VersionFloor(model_id, floor)],
    )
    if as_json:
        print_json({"path": str(output), **facts})
        return
    where = f"on {len(lost)} devices" if lost else "on all devices"
    click.echo(
        f"{output}: update {version}\n"
        f"ends all licenses of model {model_id.hex()} issued until "
        f"{facts['issued_at']}, {where}"
    )
    if floor is not None:
        click.echo(f"versions below {floor} no longer open")
    click.echo(
        f"Hand it to devices: undercroft update apply DEVICE {quote(f'{output}')}"
    )


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
    echo_facts(facts | facts.pop("terms"), 17)
