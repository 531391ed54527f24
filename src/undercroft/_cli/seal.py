# SPDX-License-Identifier: Apache-2.0
"""`undercroft seal`: a model for shipping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    budget_option,
    input_shape_option,
    json_option,
    key_option,
    sealing_progress,
    signer_of,
    suite_option,
    summary_of_sealing,
    weights_option,
)

if TYPE_CHECKING:
    from undercroft.plan import WeightsFormat


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The sealed file, the same for every device.",
)
@key_option
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Where the model's id and content key are kept; used again when it "
    "exists. Default: OUTPUT.key",
)
@click.option(
    "--model-version",
    type=click.IntRange(0, 2**32 - 1),
    default=1,
    show_default=True,
    help="A number that you count up.",
)
@budget_option
@suite_option
@input_shape_option
@weights_option
@json_option
def command(
    model: Path,
    output: Path,
    key: str,
    key_file: Path | None,
    model_version: int,
    budget: str,
    suite: str,
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    weights: WeightsFormat,
    as_json: bool,
) -> None:
    """Seal MODEL (ONNX) for shipping.

    The content key is kept in a file beside the output (--key-file). It makes
    licenses, and seals later versions that the same licenses open: keep it,
    and keep it secret.

    \b
    Example:
      undercroft seal model.onnx -o model.sealed --key provider.pem --budget 12MiB
    """  # noqa: D301 click wants the character itself
    from undercroft.seal import seal

    signing_key = signer_of(key)
    with sealing_progress("planning", hidden=as_json) as progress:
        result = seal(
            model,
            output,
            signing_key=signing_key,
            budget=budget,
            input_shapes=dict(input_shapes) or None,
            weights=weights,
            suite=suite,
            model_version=model_version,
            key_file=key_file,
            progress=progress,
        )
    if as_json:
        print_json(summary_of_sealing(result))
        return
    header = result.header
    click.echo(
        f"{result.path}: {result.file_bytes / 2**20:.2f} MiB, "
        f"{header.page_count} pages of {header.page_bytes // 1024} KiB, needs "
        f"{header.budget_bytes / 2**20:.2f} MiB of secure memory"
    )
    click.echo(f"model id {header.model_id.hex()}, version {header.model_version}")
    click.echo(f"{result.key_file}: the content key. Keep it, and keep it secret.")
