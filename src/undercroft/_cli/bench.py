# SPDX-License-Identifier: Apache-2.0
"""`undercroft bench`: the benchmark table, by the board's instruction clock."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from undercroft._cli import print_json
from undercroft._cli._common import input_shape_option, json_option, weights_option
from undercroft._format.suites import DEFAULT_SUITE, SUITES

if TYPE_CHECKING:
    from rich.console import Console

    from undercroft._bench.report import Failure, Report, Row
    from undercroft._bench.subject import Subject
    from undercroft.plan import WeightsFormat


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("efficientnet-lite0",),
    show_default=True,
    metavar="NAME|FILE",
    help="A known network, an ONNX file, or `all`. May be repeated.",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    default=("12MiB", "7MiB"),
    show_default=True,
    metavar="SIZE",
    help="Secure memory to plan for. May be repeated.",
)
@input_shape_option
@weights_option
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the JSON document to this file as well.",
)
@click.option(
    "--suite",
    "suites",
    multiple=True,
    type=click.Choice(tuple(SUITES)),
    default=(DEFAULT_SUITE,),
    show_default=True,
    help="Cipher suite to seal with. May be repeated.",
)
@click.option(
    "--device",
    type=click.Choice(["board:", "host:"]),
    default="board:",
    show_default=True,
    help="host: times the engine, without protection and without a budget, and "
    "onnxruntime on this machine, in seconds.",
)
@click.option(
    "--again", is_flag=True, help="Measure what has been measured before as well."
)
@json_option
def command(
    models: tuple[str, ...],
    budgets: tuple[str, ...],
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...],
    weights: WeightsFormat,
    output: Path | None,
    suites: tuple[str, ...],
    device: str,
    again: bool,
    as_json: bool,
) -> None:
    """Count the instructions of one inference: in the secure world, by the same
    engine on plaintext in the normal world, and by onnxruntime there.

    Runs on an emulated board of its own (`bench`), whose clock is the number of
    instructions executed, so that figures repeat whatever else this machine does.
    What the same programs have answered before is not measured again, so that an
    interrupted measurement goes on. Exits with 1 when a row could not be measured.

    \b
    Example:
      undercroft bench --budget 12MiB --budget 7MiB -o result.json
      undercroft bench --device host: --model all
    """  # noqa: D205, D301 click wants the character itself
    from rich.console import Console

    from undercroft._bench.run import measure
    from undercroft._format.files import write_file
    from undercroft.plan import parse_budget

    sizes = [parse_budget(budget) for budget in budgets]
    if None in sizes:
        raise click.UsageError("a budget of the secure world has a limit")
    subjects = [_subject(name, dict(input_shapes)) for name in _expanded(models)]
    console = Console(stderr=True, quiet=as_json)
    if device == "host:":
        _on_the_host(subjects, output, console, as_json=as_json)
        return

    def record(so_far: Report, row: Row | Failure) -> None:
        _print_progress(console, row)
        if output is not None:
            text = json.dumps(so_far.as_dict(), indent=2) + "\n"
            write_file(output, text.encode(), overwrite=True)

    with console.status("starting the board") as status:
        report = measure(
            subjects,
            [size for size in sizes if size is not None],
            weights=weights,
            suites=suites,
            again=again,
            progress=status.update,
            on_row=record,
        )
    if as_json:
        print_json(report.as_dict())
    else:
        _print_tables(report)
    if report.failures:
        sys.exit(1)


def _on_the_host(
    subjects: list[Subject], output: Path | None, console: Console, *, as_json: bool
) -> None:
    from undercroft._bench.wall import measure_wall
    from undercroft._format.files import write_file

    with console.status("measuring") as status:
        found = measure_wall(subjects, progress=status.update)
    if output is not None:
        text = json.dumps(found, indent=2) + "\n"
        write_file(output, text.encode(), overwrite=True)
    if as_json:
        print_json(found)
    for row in () if as_json else found["rows"]:
        click.echo(
            f"{row['model']}: engine {row['engine_seconds'] * 1e3:.1f} ms, onnxruntime "
            f"{row['onnxruntime_seconds'] * 1e3:.1f} ms, one thread each: "
            f"{row['ratio']:.2f}"
        )
    for failure in found["failures"]:
        click.echo(f"{failure['model']}: not measured: {failure['message']}", err=True)
    if found["failures"]:
        sys.exit(1)


def _expanded(models: tuple[str, ...]) -> list[str]:
    from undercroft import _models

    every = [
        name
        for model in models
        for name in (_models.names() if model == "all" else (model,))
    ]
    return list(dict.fromkeys(every))


def _print_progress(console: Console, row: Row | Failure) -> None:
    from undercroft._bench.report import Failure, mib

    where = f"{row.model} in {mib(row.budget_bytes)}"
    if isinstance(row, Failure):
        console.print(f"{where}: not measured: {row.message}")
    else:
        console.print(
            f"{where}: secure / plain {row.secure_to_plain:.3f}, "
            f"plain / onnxruntime {row.plain_to_onnxruntime:.3f}"
        )


def _subject(model: str, input_shapes: dict[str, tuple[int, ...]]) -> Subject:
    from undercroft import _models
    from undercroft._bench.subject import file_subject, known_subject

    if model in _models.names():
        return known_subject(model)
    return file_subject(Path(model), input_shapes)


def _print_tables(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from undercroft._bench.report import mib, millions

    console = Console()
    table = Table(title="millions of instructions of one inference, and ratios")
    table.add_column("model", no_wrap=True)
    for name in (
        "budget",
        "secure\nfirst",
        "secure\nsteady",
        "plain",
        "onnx\nruntime",
        "secure\n/plain",
        "plain\n/onnxr.",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(
            row.model,
            mib(row.budget_bytes),
            f"{row.secure_first_instructions / 1e6:.1f}",
            f"{row.secure_steady_instructions / 1e6:.1f}",
            f"{row.plain_instructions / 1e6:.1f}",
            f"{row.onnxruntime_instructions / 1e6:.1f}",
            f"{row.secure_to_plain:.3f}",
            f"{row.plain_to_onnxruntime:.3f}",
        )
    console.print(table)
    for row in report.rows:
        console.print(
            f"{row.model} in {mib(row.budget_bytes)}, {row.weights} weights: "
            f"computing {millions(row.computing_instructions)}, "
            f"decrypting {millions(row.decrypting_instructions)}, "
            f"moving {millions(row.moving_instructions)}, "
            f"switching {millions(row.switching_instructions)}; "
            f"{mib(row.decrypted_bytes)} decrypted, "
            f"{row.world_switches} world switches, "
            f"secure peak {mib(row.secure_peak_bytes)}"
        )
