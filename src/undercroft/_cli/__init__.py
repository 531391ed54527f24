# SPDX-License-Identifier: Apache-2.0
"""The command line: one verb a file, loaded when it is asked for.

Each module `undercroft._cli.VERB` has a click command or group named
`command`. Errors of the library become one message, one hint and the exit code
of `undercroft.errors`.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from typing import Any, TextIO

import click

from undercroft.errors import Error

VERBS = {
    "bench": "measure secure, plain and onnxruntime runs on one clock",
    "board": "build, start and stop the emulated TrustZone board",
    "demo": "the whole story on a real model and a real photo",
    "enroll": "get a device's certificate",
    "factory": "vouch for devices, as their manufacturer",
    "inspect": "show what anybody can learn from a sealed file",
    "keys": "create and show provider keys",
    "license": "issue and revoke licenses for devices",
    "plan": "show the partition plan of a model under a budget",
    "provider": "serve licenses to devices over HTTP, from a database",
    "reseal": "seal a sealed file again under a fresh content key",
    "run": "run one inference on a device",
    "seal": "seal a model for shipping",
    "serve": "serve sealed models over HTTP (Open Inference Protocol v2)",
    "update": "tell devices the time, revocations and version floors",
    "verify": "compare a sealed run with onnxruntime",
}


class VerbGroup(click.Group):
    """A group that imports a verb's module only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"undercroft._cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="undercroft")
def main() -> None:
    """Run a proprietary neural network on devices you do not trust.

    It runs there in the Arm TrustZone secure world.

    \b
    Example: undercroft verify model.onnx --budget 12MiB --device board:
    """  # noqa: D301 click wants the character itself


def print_json(value: Any) -> None:  # noqa: ANN401 any JSON value
    """Print one JSON document, as every `--json` does."""
    click.echo(json.dumps(value, indent=2))


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence: a source line says nothing to a user."""
    click.echo(f"warning: {message}", err=True)


def run() -> None:
    """Entry point of the `undercroft` command."""
    warnings.showwarning = _show_warning
    try:
        main.main(standalone_mode=False)
    except Error as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(1)
