# SPDX-License-Identifier: Apache-2.0
"""`undercroft reseal`: a sealed file again, under a fresh content key."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    json_option,
    key_option,
    sealing_progress,
    signer_of,
    summary_of_sealing,
)
from undercroft._format.suites import SUITES


@click.command()
@click.argument("sealed", metavar="MODEL.SEALED", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The new sealed file.",
)
@click.option(
    "--model-key",
    type=click.Path(path_type=Path),
    help="The key file of MODEL.SEALED. Default: MODEL.SEALED.key",
)
@key_option
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Where the new content key is written; must not exist. Default: OUTPUT.key",
)
@click.option(
    "--model-version",
    type=click.IntRange(0, 2**32 - 1),
    help="Default: one more than before.",
)
@click.option(
    "--suite",
    type=click.Choice(tuple(SUITES)),
    help="Another cipher suite. Default: the same.",
)
@json_option
def command(
    sealed: Path,
    output: Path,
    model_key: Path | None,
    key: str,
    key_file: Path | None,
    model_version: int | None,
    suite: str | None,
    as_json: bool,
) -> None:
    """Seal MODEL.SEALED again under a fresh content key, without the ONNX file.

    For a content key that leaked, or a provider key that is to be retired.
    Licenses made from the old key do not open the new file: revoke them
    (undercroft license revoke), then issue new ones.

    \b
    Example:
      undercroft reseal model.sealed -o model-2.sealed --key provider.pem
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ModelKey
    from undercroft.reseal import reseal

    old_key = ModelKey.load(model_key or sealed.with_name(f"{sealed.name}.key"))
    signing_key = signer_of(key)
    with sealing_progress("sealing again", hidden=as_json) as progress:
        result = reseal(
            sealed,
            output,
            model_key=old_key,
            signing_key=signing_key,
            key_file=key_file,
            model_version=model_version,
            suite=suite,
            progress=progress,
        )
    if as_json:
        print_json(summary_of_sealing(result))
        return
    header = result.header
    click.echo(f"{result.path}: model {header.model_id.hex()}")
    click.echo(
        f"version {header.model_version}, {header.page_count} pages, "
        f"{result.file_bytes / 2**20:.2f} MiB"
    )
    click.echo(f"{result.key_file}: the new content key. Keep it, and keep it secret.")
    click.echo(
        "The old file and its licenses still hold. To end them on devices:\n"
        f"  undercroft license revoke --model-key {quote(str(result.key_file))} "
        f"--floor {header.model_version} --key {quote(key)} --version N -o N.update"
    )
