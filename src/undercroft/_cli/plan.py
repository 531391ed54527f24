# SPDX-License-Identifier: Apache-2.0
"""`undercroft plan`: how a model fits into a budget and what it will cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from undercroft._cli import print_json
from undercroft._cli._common import (
    budget_option,
    input_shape_option,
    json_option,
    located,
    model_argument,
    suite_option,
    weights_option,
)
from undercroft._spec import DEFAULT_PAGE_BYTES

if TYPE_CHECKING:
    from undercroft.plan import WeightsFormat


@click.command()
@model_argument
@budget_option
@suite_option
@input_shape_option
@weights_option
@click.option(
    "--page-bytes",
    type=int,
    default=DEFAULT_PAGE_BYTES,
    show_default=True,
    help="Plaintext bytes of a page: a multiple of 4096.",
)
@json_option
def command(
    model: Path,
    budget: str,
    suite: str,
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    weights: WeightsFormat,
    page_bytes: int,
    as_json: bool,
) -> None:
    """Show how MODEL fits into a budget of secure memory.

    MODEL is an ONNX file or a known network such as resnet-50.

    For each operator: how its weights are partitioned, how many bytes stay
    decrypted and how many are decrypted at each inference, what activations
    live while it runs, and what it is expected to cost. A budget of
    "unlimited" keeps all weights decrypted.

    \b
    Example:
      undercroft plan model.onnx --budget 12MiB --input-shape x=1,3,224,224
    """  # noqa: D301 click wants the character itself
    from rich.console import Console

    from undercroft.plan import plan

    path, shapes = located(model, dict(input_shapes))
    result = plan(
        path,
        budget,
        input_shapes=shapes,
        page_bytes=page_bytes,
        weights=weights,
        suite=suite,
    )
    if as_json:
        print_json({"model": str(model), **result.to_dict()})
        return
    console = Console()
    # A pipe has no width that the table could be folded into.
    if console.is_terminal:
        console.print(result)
    else:
        click.echo(str(result))
