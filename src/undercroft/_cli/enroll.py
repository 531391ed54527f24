# SPDX-License-Identifier: Apache-2.0
"""`undercroft enroll`: a device's certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    TERM_NAMES,
    echo_facts,
    json_option,
    policy_of,
    policy_options,
    terms_of,
    terms_options,
)

if TYPE_CHECKING:
    from undercroft.provider import ProviderClient

_API_KEY_VARIABLE = "UNDERCROFT_API_KEY"


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
@click.option(
    "--provider",
    "provider_url",
    metavar="URL",
    help="Enrol with a license service (undercroft provider serve) instead of here. "
    f"The API key is in {_API_KEY_VARIABLE}, or in --api-key-file.",
)
@click.option(
    "--api-key-file",
    type=click.Path(path_type=Path),
    help="With --provider: a file with the API key, readable by you alone.",
)
@click.option("--label", default="", help="With --provider: a name for people.")
@click.option(
    "--model", help="With --provider: get a license for this model, by id or name."
)
@click.option(
    "--license",
    "license_file",
    type=click.Path(path_type=Path),
    help="With --model: where to write the license. It is issued with:",
)
@terms_options
@json_option
def command(
    device: str,
    output: Path,
    endorsement: Path | None,
    provider_url: str | None,
    api_key_file: Path | None,
    label: str,
    model: str | None,
    license_file: Path | None,
    as_json: bool,
    **demands: Any,  # noqa: ANN401 what policy_options and terms_options add
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
      undercroft enroll http://device:8080 --endorsement device.pem \\
          --provider https://licenses.example --model detector \\
          --license device.license --expires 90d
    """  # noqa: D301 click wants the character itself
    conditions = {name: demands.pop(name) for name in TERM_NAMES}
    if provider_url is not None:
        if any(demands.values()):
            raise click.UsageError(
                "the service has a policy of its own: leave out "
                + ", ".join(
                    f"--{name.replace('_', '-')}" for name in demands if demands[name]
                )
            )
        if (model is None) != (license_file is None):
            raise click.UsageError("--model and --license go together")
        with _client(provider_url, api_key_file) as provider:
            _enroll_there(
                provider,
                device,
                endorsement,
                label,
                model,
                license_file,
                conditions,
                as_json,
            )
        return
    if model or license_file or label or api_key_file:
        raise click.UsageError("these options need --provider")
    _enroll_here(device, output, endorsement, demands, as_json)


def _enroll_here(
    device: str,
    output: Path,
    endorsement: Path | None,
    demands: dict[str, Any],
    as_json: bool,
) -> None:
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


def _client(url: str, api_key_file: Path | None) -> ProviderClient:
    from undercroft._format.files import read_secret_file
    from undercroft.provider import ProviderClient

    if api_key_file is not None:
        data = read_secret_file(api_key_file, limit_bytes=256, what="API key")
        api_key = data.decode("ascii", "replace")
    else:
        api_key = os.environ.get(_API_KEY_VARIABLE, "")
    if not api_key.strip():
        raise click.UsageError(f"give the API key in {_API_KEY_VARIABLE}")
    return ProviderClient(url, api_key=api_key)


def _enroll_there(
    provider: ProviderClient,
    device: str,
    endorsement: Path | None,
    label: str,
    model: str | None,
    license_file: Path | None,
    conditions: dict[str, Any],
    as_json: bool,
) -> None:
    from undercroft._format.files import write_file
    from undercroft.factory import load_certificate
    from undercroft.license import License

    terms = terms_of(conditions).as_dict()
    facts = provider.enroll(
        device,
        endorsement=load_certificate(endorsement) if endorsement else None,
        label=label,
    )
    shown = dict(facts)
    if model is not None and license_file is not None:
        data = provider.issue(model, facts["device_id"], **terms)
        write_file(license_file, data)
        shown["license"] = {"path": str(license_file), **License.parse(data).inspect()}
    if as_json:
        print_json(shown)
        return
    click.echo(f"device {facts['device_id']} is enrolled")
    if license_file is not None:
        click.echo(f"{license_file}: license {shown['license']['license_id']}")
