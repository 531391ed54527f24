# SPDX-License-Identifier: Apache-2.0
"""`undercroft demo`: the whole story on a real model and a real photo."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from undercroft._cli import print_json
from undercroft._cli._common import budget_option, json_option, suite_option

if TYPE_CHECKING:
    from rich.console import Console

    from undercroft._demo import Demo

MEBI = 2**20


@click.command()
@budget_option
@click.option(
    "--device",
    default="board:",
    show_default=True,
    metavar="URI",
    help="board:, tee:, http://HOST:PORT, or host: (no protection).",
)
@click.option(
    "--photo",
    type=click.Choice(["cat", "coffee"]),
    default="coffee",
    show_default=True,
    help="Which photo to classify.",
)
@suite_option
@json_option
def command(budget: str, device: str, photo: str, suite: str, as_json: bool) -> None:
    """Seal a real network, run it in the secure world on a real photo, compare
    with onnxruntime, and search the device's normal memory for secrets.

    \b
    Example:
      undercroft demo --budget 7MiB
    """  # noqa: D205, D301 click shows this text as it is
    from rich.console import Console

    from undercroft import _demo

    out = Console(quiet=as_json, highlight=False)
    progress = Console(stderr=True, quiet=as_json, highlight=False)
    with progress.status("fetching the model and planning") as status:
        plan = _demo.make_plan(budget, suite)
    out.rule("what the provider plans: EfficientNet-Lite0 under a budget")
    out.print(plan)
    with progress.status("starting") as status:

        def tell(stage: str) -> None:
            status.update(stage)
            progress.print(f"[dim]{stage} …[/]")

        result = _demo.run(plan, device_uri=device, photo=photo, tell=tell)
    if as_json:
        print_json(result.as_dict())
    else:
        _print_story(out, result)
    if not result.passed:
        sys.exit(1)


def _print_story(out: Console, demo: Demo) -> None:
    from rich.table import Table

    verification = demo.verification
    stats = verification.stats
    public = demo.public
    out.rule("what anybody can learn from the sealed file")
    pages = (
        f"{public['program_pages']} program, {public['resident_pages']} resident and "
        f"{public['streamed_pages']} streamed pages of {public['page_bytes']} bytes"
    )
    out.print(
        f"{demo.file_bytes / MEBI:.1f} MiB: {pages}; {public['suite']}; needs "
        f"{public['budget_bytes'] / MEBI:.2f} MiB of secure memory; "
        f"input {public['inputs'][0]['shape']}, output {public['outputs'][0]['shape']}"
    )
    place = "the engine on this host, WITHOUT protection"
    if verification.device == "op-tee":
        version = f" {demo.optee_version}" if demo.optee_version else ""
        place = f"the secure world of OP-TEE{version}"
    out.rule(f"the answer, out of {place}")
    table = Table("protected", "", "onnxruntime", "")
    for ours, theirs in zip(demo.guesses, demo.guesses_onnxruntime, strict=True):
        table.add_row(
            ours.label,
            f"{ours.probability:.2%}",
            theirs.label,
            f"{theirs.probability:.2%}",
        )
    out.print(table)
    out.print(
        f"largest difference {verification.max_rel_error:.1e} of the largest logit "
        f"(allowed {verification.tolerance:g})"
    )
    out.rule("what it cost")
    allowed = verification.budget_bytes or 0
    speed = ""
    if demo.proof is not None:
        speed = " (the board is emulated: this says nothing about a real one)"
    out.print(
        f"secure memory at its peak  {stats.secure_peak_bytes / MEBI:.2f} MiB of "
        f"{allowed / MEBI:.2f} MiB, for {stats.weights_bytes / MEBI:.2f} MiB of "
        f"weights\n"
        f"decrypted                  {stats.decrypted_bytes / MEBI:.2f} MiB in this "
        f"inference\n"
        f"world switches             {stats.world_switches}\n"
        f"time                       {stats.seconds:.1f} s{speed}\n"
        f"license                    {demo.license_bytes} bytes, for this device only"
    )
    if demo.proof is not None:
        out.rule("what the normal world could learn of it: nothing")
        out.print(demo.proof.line)
    verdict = "[green]passed[/]" if demo.passed else "[red]FAILED[/]"
    out.print(verdict)
