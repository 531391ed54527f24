# SPDX-License-Identifier: Apache-2.0
"""`undercroft verify`: is the protected answer the plain one?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from undercroft._cli import print_json
from undercroft._cli._arrays import input_option, read_arrays
from undercroft._cli._common import (
    budget_option,
    input_shape_option,
    json_option,
    located,
    model_argument,
    suite_option,
    weights_option,
)

if TYPE_CHECKING:
    from undercroft.plan import WeightsFormat
    from undercroft.verify import Verification


@click.command()
@model_argument
@budget_option
@click.option(
    "--device",
    default="board:",
    show_default=True,
    metavar="URI",
    help="board:, tee:, http://HOST:PORT, or host: (no protection).",
)
@suite_option
@input_shape_option
@weights_option
@input_option
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the random inputs, where no --input is given.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=None,
    show_default="1e-4; 0.1 with int8 weights",
    help="Largest error that passes, against the output's largest magnitude.",
)
@json_option
def command(
    model: Path,
    budget: str,
    device: str,
    suite: str,
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    weights: WeightsFormat,
    inputs: tuple[tuple[str, Path], ...],
    seed: int,
    tolerance: float | None,
    as_json: bool,
) -> None:
    """Compare MODEL, sealed and run on a device, with onnxruntime.

    MODEL is an ONNX file or a known network such as resnet-50.

    Seals with throw-away keys. Exits with 1 when the answers differ. With
    --weights int8 the error that it reports is what rounding the weights did.

    \b
    Example:
      undercroft verify model.onnx --budget 12MiB --device board:
    """  # noqa: D301 click wants the character itself
    from rich.console import Console

    from undercroft.verify import verify

    console = Console(stderr=True, quiet=as_json)
    with console.status("planning") as status:
        path, shapes = located(model, dict(input_shapes))
        result = verify(
            path,
            budget=budget,
            device=device,
            input_shapes=shapes or None,
            weights=weights,
            suite=suite,
            inputs=lambda infos: read_arrays(inputs, infos),
            seed=seed,
            tolerance=tolerance,
            progress=status.update,
        )
    if as_json:
        print_json(result.as_dict())
    else:
        _print_table(result)
    if not result.passed:
        sys.exit(1)


def _print_table(result: Verification) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("output", "largest error", "relative", "argmax", title=result.model)
    for output in result.outputs:
        table.add_row(
            output.name,
            f"{output.max_abs_error:.3g}",
            f"{output.max_rel_error:.3g}",
            "same" if output.argmax_match else "DIFFERENT",
        )
    console.print(table)
    stats = result.stats
    mebi = 2**20
    allowed = "unlimited"
    if result.budget_bytes is not None:
        allowed = f"{result.budget_bytes / mebi:.2f} MiB"
    console.print(
        f"{result.device}: {stats.secure_peak_bytes / mebi:.2f} of {allowed} secure "
        f"memory, "
        f"{stats.weights_bytes / mebi:.2f} MiB of weights, "
        f"{stats.decrypted_bytes / mebi:.2f} MiB decrypted, "
        f"{stats.world_switches} world switches, {stats.seconds:.2f} s"
    )
    if result.passed:
        what = "the protected answer is the plain one"
        if result.weights != "f32":
            what = (
                f"with weights in 8 bits the answer moved by "
                f"{result.max_rel_error:.2%}, at most {result.tolerance:.2%} is allowed"
            )
        console.print(f"[green]passed[/]: {what}")
    else:
        console.print(f"[red]FAILED[/]: more than {result.tolerance:g} apart")
