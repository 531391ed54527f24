# SPDX-License-Identifier: Apache-2.0
"""`undercroft keys`: provider keys."""

from __future__ import annotations

import os
from pathlib import Path

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option, signer_of


@click.group()
def command() -> None:
    """Create, list, show and rotate provider keys.

    They sign sealed models, licenses and updates.

    \b
    Example:
      undercroft keys new provider.pem
      undercroft keys show provider.pem --public provider.pub
    """  # noqa: D301 click wants the character itself


def _new_passphrase(wanted: bool) -> bytes | None:
    if not wanted:
        return None
    from undercroft.keys import PASSPHRASE_VARIABLE

    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is not None:
        return given.encode()
    text: str = click.prompt(
        "passphrase", hide_input=True, confirmation_prompt=True, err=True
    )
    return text.encode()


_passphrase_option = click.option(
    "--passphrase",
    is_flag=True,
    help="Protect the file by a passphrase, which is asked for or taken from "
    "UNDERCROFT_PASSPHRASE.",
)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@_passphrase_option
@json_option
def new(file: Path, passphrase: bool, as_json: bool) -> None:
    """Make a new key and write it to FILE, which only you can read.

    \b
    Example: undercroft keys new provider.pem --passphrase
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderKey

    key = ProviderKey.generate()
    key.save(file, passphrase=_new_passphrase(passphrase))
    if as_json:
        print_json({"file": str(file), "key_id": key.key_id.hex()})
        return
    click.echo(f"{file}: new provider key {key.key_id.hex()}")
    click.echo("Keep a copy in a safe place: models and licenses need this very key.")


@command.command()
@click.argument("key", metavar="FILE|pkcs11:...")
@click.option(
    "--public",
    type=click.Path(path_type=Path),
    help="Also write the public key (PEM) to this file.",
)
@json_option
def show(key: str, public: Path | None, as_json: bool) -> None:
    """Show what anybody may know of a key.

    \b
    Example: undercroft keys show provider.pem --public provider.pub
    """  # noqa: D301 click wants the character itself
    known = signer_of(key).public()
    if public is not None:
        known.save(public)
    if as_json:
        print_json(
            {"file": key, "key_id": known.key_id.hex(), "public": known.raw.hex()}
        )
        return
    click.echo(f"key id      {known.key_id.hex()}")
    click.echo(f"public key  {known.raw.hex()}")


@command.command(name="list")
@click.argument(
    "folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
)
@json_option
def list_keys(folder: Path, as_json: bool) -> None:
    """List the keys in FOLDER (here without), and what is wrong with them.

    \b
    Example: undercroft keys list
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import describe_key_file

    rows = [
        row
        for path in sorted(folder.iterdir())
        if path.suffix in {".pem", ".pub", ".key"}
        and (row := describe_key_file(path)) is not None
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['file']:<28} {row['kind']:<16} {row['key_id'] or '-'}")
        if row["problem"]:
            click.echo(f"  {row['problem']}", err=True)
    if not rows:
        click.echo(f"no keys in {folder.absolute()}")


@command.command()
@click.argument("old", metavar="OLD|pkcs11:...")
@click.argument("new_file", metavar="NEW", type=click.Path(path_type=Path))
@click.option(
    "--version",
    type=click.IntRange(1),
    required=True,
    help="Number of the update that tells devices; above all before.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--retire", is_flag=True, help="Devices are to refuse OLD from then on.")
@_passphrase_option
@json_option
def rotate(
    old: str,
    new_file: Path,
    version: int,
    output: Path,
    retire: bool,
    passphrase: bool,
    as_json: bool,
) -> None:
    """Make a NEW key, and the update by which devices that trust OLD trust it too.

    A file NEW that is there already is used as it is. Without --retire both keys
    are good until a second rotation retires OLD.

    \b
    Example:
      undercroft keys rotate provider.pem next.pem --version 5 -o 5.update
      undercroft keys rotate provider.pem next.pem --version 6 -o 6.update --retire
    """  # noqa: D301 click wants the character itself
    from undercroft._format.files import write_file
    from undercroft.keys import ProviderKey
    from undercroft.update import Successor, issue_update

    signer = signer_of(old)
    if new_file.exists():
        successor = signer_of(str(new_file)).public()
    else:
        key = ProviderKey.generate()
        key.save(new_file, passphrase=_new_passphrase(passphrase))
        successor = key.public()
    data = issue_update(
        signing_key=signer,
        version=version,
        successor=Successor(successor, retire=retire),
    )
    write_file(output, data)
    if as_json:
        print_json(
            {
                "file": str(new_file),
                "key_id": successor.key_id.hex(),
                "update": str(output),
                "retire": retire,
            }
        )
        return
    click.echo(f"{new_file}: key {successor.key_id.hex()} succeeds {old}")
    click.echo(f"{output}: send it to every device (undercroft update apply)")
    if retire:
        click.echo(
            "Devices that take it refuse everything that the old key signed: seal "
            "models and issue licenses again with the new one first."
        )
