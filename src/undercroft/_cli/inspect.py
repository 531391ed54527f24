# SPDX-License-Identifier: Apache-2.0
"""`undercroft inspect`: what anybody can learn from a sealed file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from undercroft._cli import print_json
from undercroft._cli._common import json_option


@click.command()
@click.argument("sealed", type=click.Path(path_type=Path))
@click.option(
    "--provider",
    type=click.Path(path_type=Path),
    help="Public key (PEM) of the provider that must have signed it.",
)
@json_option
def command(sealed: Path, provider: Path | None, as_json: bool) -> None:
    """Show what anybody can learn from the file SEALED, and nothing else.

    The signature is verified against the provider key that the file names; only
    --provider says whose that key is.

    \b
    Example: undercroft inspect model.sealed --provider provider.pub
    """  # noqa: D301 click wants the character itself
    from undercroft.keys import ProviderPublicKey
    from undercroft.sealed import SealedModel

    expected = ProviderPublicKey.load(provider) if provider is not None else None
    with SealedModel.open(sealed, provider=expected) as model:
        facts = model.inspect()
    if as_json:
        print_json(facts)
        return
    click.echo(_text(facts))


def _text(facts: dict[str, Any]) -> str:
    rows = [
        ("model id", facts["model_id"]),
        ("model version", facts["model_version"]),
        ("provider key", facts["provider_key_id"]),
        ("cipher suite", facts["suite"]),
        (
            "pages",
            f"{facts['program_pages']} program, {facts['resident_pages']} resident, "
            f"{facts['streamed_pages']} streamed, of {facts['page_bytes']} bytes",
        ),
        ("secure memory", f"{facts['budget_bytes']} bytes"),
        ("file", f"{facts['file_bytes']} bytes"),
    ]
    for kind in ("inputs", "outputs"):
        for tensor in facts[kind]:
            shape = " x ".join(map(str, tensor["shape"])) or "scalar"
            rows.append((kind[:-1], f"{tensor['name']}  {tensor['dtype']} {shape}"))
    rows += [
        ("extension", f"{key}  {value}") for key, value in facts["extensions"].items()
    ]
    return "\n".join(f"{name:<14}{value}" for name, value in rows)
