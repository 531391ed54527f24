# SPDX-License-Identifier: Apache-2.0
"""`undercroft update`: what a provider tells its devices."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import echo_facts, json_option, key_option, signer_of
from undercroft._clock import provider_time

if TYPE_CHECKING:
    from undercroft.update import Successor, VersionFloor


@click.group()
def command() -> None:
    """Tell devices the time, revocations, version floors, and a new key.

    An update is signed by the provider and not secret. Devices never go back
    behind one: it can only take away.

    \b
    Example:
      undercroft update new --key provider.pem -o now.update
      undercroft update apply board: now.update
    """  # noqa: D301 click wants the character itself


@command.command()
@key_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option(
    "--version",
    type=click.IntRange(1),
    help="Which update this is. Needed for all but the time.",
)
@click.option(
    "--revoke",
    "revoked",
    multiple=True,
    metavar="MODEL.KEY[@DEVICE.CERT]",
    help="Licenses of this model issued until now no longer hold, on this device "
    "or on all. May be repeated.",
)
@click.option(
    "--floor",
    "floors",
    multiple=True,
    metavar="MODEL.KEY@VERSION",
    help="Versions of this model below VERSION no longer open. May be repeated.",
)
@click.option(
    "--successor",
    type=click.Path(path_type=Path),
    help="Public key (PEM) that devices are to trust besides.",
)
@click.option(
    "--retire", is_flag=True, help="With --successor: do not trust --key any more."
)
@json_option
def new(
    key: str,
    output: Path,
    version: int | None,
    revoked: tuple[str, ...],
    floors: tuple[str, ...],
    successor: Path | None,
    retire: bool,
    as_json: bool,
) -> None:
    """Make an update; without further options one that tells the time.

    \b
    Example: a lost device, and an old version that must not come back
      undercroft update new --key provider.pem -o 4.update --version 4 \\
          --revoke model.sealed.key@lost.cert --floor model.sealed.key@3
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderPublicKey
    from undercroft.update import Successor

    if version is None and (revoked or floors or successor):
        raise click.UsageError("give --version: the number of this update")
    if retire and successor is None:
        raise click.UsageError("--retire needs --successor: the key that follows")
    facts = write_update(
        output,
        key,
        version=version,
        revoked=[_revoked(text) for text in revoked],
        floors=[_floor(text) for text in floors],
        successor=Successor(ProviderPublicKey.load(successor), retire=retire)
        if successor
        else None,
    )
    if as_json:
        print_json({"path": str(output), **facts})
        return
    what = "time token" if version is None else f"update {version}"
    click.echo(f"{output}: {what} of {facts['issued_at']}")
    if retire:
        click.echo(
            "Devices that take it refuse everything that the old key signed: seal "
            "models and issue licenses again with the new one first."
        )


@command.command()
@click.argument("device")
@click.argument("update_file", metavar="UPDATE", type=click.Path(path_type=Path))
@json_option
def apply(device: str, update_file: Path, as_json: bool) -> None:
    """Hand UPDATE to DEVICE: board:, tee:, http://HOST:PORT or host:.

    \b
    Example: undercroft update apply board: now.update
    """  # noqa: D301 click wants the character itself
    from undercroft._device import open_device
    from undercroft.update import Update

    update = Update.load(update_file)
    opened = open_device(device)
    try:
        opened.update(update.data)
    finally:
        opened.close()
    if as_json:
        print_json({"device": device, "taken": True, **update.inspect()})
        return
    click.echo(f"{device} has taken {update_file}")


@command.command()
@click.argument("update_file", metavar="UPDATE", type=click.Path(path_type=Path))
@click.option(
    "--provider",
    type=click.Path(path_type=Path),
    help="Public key (PEM) of the provider that must have signed it.",
)
@json_option
def show(update_file: Path, provider: Path | None, as_json: bool) -> None:
    """Verify UPDATE and show what it says.

    \b
    Example: undercroft update show 4.update --provider provider.pub
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderPublicKey
    from undercroft.update import Update

    update = Update.load(update_file)
    update.verify(ProviderPublicKey.load(provider) if provider is not None else None)
    facts = update.inspect()
    if as_json:
        print_json(facts)
        return
    echo_facts(facts, 17)


def write_update(
    output: Path,
    key: str,
    *,
    version: int | None,
    revoked: Sequence[tuple[bytes, bytes | None]] = (),
    floors: Sequence[VersionFloor] = (),
    successor: Successor | None = None,
) -> dict[str, Any]:
    """Write an update, and return what it says, ready for JSON.

    Args:
        output: its file.
        key: the signing key, as `--key` names it.
        version: which update this is.
        revoked: models whose licenses issued until now are revoked, on one device
            or on all. Returns after this second has passed, so that a license
            issued afterwards holds.
        floors: versions below which models no longer open.
        successor: a further key of the provider.
    """
    from undercroft._format.files import write_file
    from undercroft.update import Revocation, Update, issue_update

    now = provider_time()
    data = issue_update(
        signing_key=signer_of(key),
        version=version,
        revocations=[Revocation(model, now + 1, device) for model, device in revoked],
        floors=floors,
        successor=successor,
        issued_at=now,
    )
    write_file(output, data)
    if revoked:
        time.sleep(max(0.0, now + 1 - time.time()))
    return Update.parse(data).inspect()


def _revoked(text: str) -> tuple[bytes, bytes | None]:
    """Return the model and the device that MODEL.KEY[@DEVICE.CERT] names."""
    from undercroft.enroll import DeviceCertificate
    from undercroft.keys import ModelKey

    model, at, device = text.partition("@")
    return (
        ModelKey.load(model).model_id,
        DeviceCertificate.load(device).device_id if at else None,
    )


def _floor(text: str) -> VersionFloor:
    from undercroft.keys import ModelKey
    from undercroft.update import VersionFloor

    model, _, version = text.rpartition("@")
    if not (model and version.isascii() and version.isdigit()):
        raise click.UsageError(f"{text!r} is not like model.sealed.key@3")
    return VersionFloor(ModelKey.load(model).model_id, int(version))
