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

if TYPE_CHECKING:
    from undercroft.plan import Plan, WeightsFormat


@click.command()
@model_argument
@budget_option
@suite_option
@input_shape_option
@weights_option
@click.option(
    "--page-bytes",
    type=int,
    help="Plaintext bytes of a page: a multiple of 4096. Without, the planner "
    "chooses: 65536, or less for a small budget.",
)
@click.option(
    "--sweep",
    is_flag=True,
    help="Show the curve of cost against budget, from 2 MiB to the whole model.",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the plan as a page with pictures, and that curve, to a file.",
)
@json_option
def command(
    model: Path,
    budget: str,
    suite: str,
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    weights: WeightsFormat,
    page_bytes: int | None,
    sweep: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show how MODEL fits into a budget of secure memory.

    MODEL is an ONNX file or a known network such as resnet-50.

    For each operator: whether it runs whole or in bands of rows, how its weights
    are partitioned, how many bytes stay decrypted and how many are decrypted at
    each inference, what activations live while it runs, and what it is expected
    to cost. A budget of "unlimited" keeps all weights decrypted.

    \b
    Example:
      undercroft plan model.onnx --budget 12MiB --input-shape x=1,3,224,224
      undercroft plan model.onnx --sweep
      undercroft plan model.onnx --budget 7MiB --html plan.html
    """  # noqa: D301 click wants the character itself
    from rich.console import Console

    from undercroft._planner import report
    from undercroft.plan import plan
    from undercroft.plan import sweep as sweep_plans

    path, shapes = located(model, dict(input_shapes))
    curve: tuple[Plan, ...] = ()
    if sweep or html:
        curve = sweep_plans(
            path,
            input_shapes=shapes,
            page_bytes=page_bytes,
            suite=suite,
            weights=weights,
        )
    if sweep and not html:
        if as_json:
            print_json({"model": str(model), "plans": [_point(p) for p in curve]})
        else:
            click.echo(report.curve_text(curve))
        return
    result = plan(
        path,
        budget,
        input_shapes=shapes,
        page_bytes=page_bytes,
        suite=suite,
        weights=weights,
    )
    if html:
        from undercroft._planner.html import page

        html.write_text(page(result, curve, str(model)), encoding="utf-8")
    if as_json:
        told = {"model": str(model), **result.to_dict()}
        if html:
            told |= {"html": str(html), "sweep": [_point(p) for p in curve]}
        print_json(told)
        return
    console = Console()
    # A pipe has no width that the table could be folded into.
    if console.is_terminal:
        console.print(result)
    else:
        click.echo(str(result))
    if html:
        click.echo(f"pictures        {html}")


def _point(made: Plan) -> dict[str, object]:
    """Return what a plan says, without its operators."""
    told = made.to_dict()
    return {key: told[key] for key in told if key not in ("ops", "inputs", "outputs")}
