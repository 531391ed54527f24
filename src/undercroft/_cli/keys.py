# SPDX-License-Identifier: Apache-2.0
"""`undercroft keys`: provider keys."""

from __future__ import annotations

from pathlib import Path

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option


@click.group()
def command() -> None:
    """Create and show provider keys, which sign sealed models and licenses.

    \b
    Example:
      undercroft keys new provider.pem
      undercroft keys show provider.pem --public provider.pub
    """  # noqa: D301 click wants the character itself


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def new(file: Path, as_json: bool) -> None:
    """Make a new key and write it to FILE, which only you can read.

    \b
    Example: undercroft keys new provider.pem
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderKey

    key = ProviderKey.generate()
    key.save(file)
    if as_json:
        print_json({"file": str(file), "key_id": key.key_id.hex()})
        return
    click.echo(f"{file}: new provider key {key.key_id.hex()}")
    click.echo("Keep a copy in a safe place: models and licenses need this very key.")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--public",
    type=click.Path(path_type=Path),
    help="Also write the public key (PEM) to this file.",
)
@json_option
def show(file: Path, public: Path | None, as_json: bool) -> None:
    """Show what anybody may know of the key in FILE.

    \b
    Example: undercroft keys show provider.pem --public provider.pub
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderKey

    key = ProviderKey.load(file).public()
    if public is not None:
        key.save(public)
    if as_json:
        print_json(
            {"file": str(file), "key_id": key.key_id.hex(), "public": key.raw.hex()}
        )
        return
    click.echo(f"key id      {key.key_id.hex()}")
    click.echo(f"public key  {key.raw.hex()}")
