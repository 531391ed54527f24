# SPDX-License-Identifier: Apache-2.0
"""`undercroft plan`: how a model fits into a budget and what it will cost."""

from __future__ import annotations

import click

from undercroft._cli import print_json

__all__ = ["command", "parse_input_shapes"]


def parse_input_shapes(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, tuple[int, ...]]:
    """Turn `x=1,3,224,224`, given any number of times, into a mapping."""
    del context
    shapes: dict[str, tuple[int, ...]] = {}
    for value in values:
        name, found, sizes = value.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(","))
        except ValueError:
            shape = ()
        if not found or not name or not shape or min(shape) < 1:
            raise click.BadParameter(
                f"{value!r} is not NAME=SIZE,SIZE,…, for example x=1,3,224,224",
                param=parameter,
            )
        shapes[name] = shape
    return shapes


@click.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.option(
    "--budget",
    default="12MiB",
    show_default=True,
    help="Secure memory: bytes, 12MiB, 512KiB, or unlimited.",
)
@click.option(
    "--input-shape",
    "input_shapes",
    metavar="NAME=SIZES",
    multiple=True,
    callback=parse_input_shapes,
    help="Static shape of an input with a dynamic one; may be repeated.",
)
@click.option("--page-bytes", type=int, default=None, help="Plaintext in a page.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: str,
    budget: str,
    input_shapes: dict[str, tuple[int, ...]],
    page_bytes: int | None,
    as_json: bool,
) -> None:
    r"""Show the partition plan of MODEL under a budget of secure memory.

    \b
    Example: undercroft plan model.onnx --budget 12MiB --input-shape x=1,3,224,224
    """
    from rich.console import Console

    from undercroft._spec import DEFAULT_PAGE_BYTES
    from undercroft.plan import plan

    result = plan(
        model,
        budget,
        input_shapes=input_shapes,
        page_bytes=page_bytes or DEFAULT_PAGE_BYTES,
    )
    if as_json:
        print_json({"model": model, **result.to_dict()})
        return
    console = Console()
    # A pipe has no width of its own to fold the table into.
    if console.is_terminal:
        console.print(result)
    else:
        click.echo(str(result))
