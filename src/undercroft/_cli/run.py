# SPDX-License-Identifier: Apache-2.0
"""`undercroft run`: one inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from undercroft._cli import print_json
from undercroft._cli._arrays import input_option, read_arrays, write_array
from undercroft._cli._common import json_option

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft.private import Asker
    from undercroft.session import InferenceSession
    from undercroft.tensor import TensorInfo


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--license",
    "license_path",
    required=True,
    type=click.Path(path_type=Path),
    help="The license for this model and device (undercroft license).",
)
@input_option
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Write every output there as NAME.npy.",
)
@click.option(
    "--device",
    default="board:",
    show_default=True,
    metavar="URI",
    help="board:, tee:, http://HOST:PORT, or host: (no protection).",
)
@click.option(
    "--private",
    is_flag=True,
    help="Seal the inputs to the device's secure world and the outputs to this "
    "command: nobody between can read them. The license says which device that is.",
)
@click.option(
    "--certificate",
    type=click.Path(path_type=Path),
    help="With --private: the device's certificate (undercroft enroll), which says "
    "instead which device that is.",
)
@json_option
def command(
    model: Path,
    license_path: Path,
    inputs: tuple[tuple[str, Path], ...],
    output_dir: Path | None,
    device: str,
    private: bool,
    certificate: Path | None,
    as_json: bool,
) -> None:
    """Run one inference of the sealed MODEL on a device.

    \b
    Example:
      undercroft run model.sealed --license device.license --input x=photo.npy
      undercroft run model.sealed --license device.license --input x=photo.npy \\
          --device http://10.0.0.7:8080 --private
    """  # noqa: D301 click wants the character itself
    from rich.console import Console

    from undercroft.session import InferenceSession

    if certificate is not None and not private:
        raise click.UsageError("--certificate goes with --private")
    asker = private if certificate is None else _asker(model, certificate)
    console = Console(stderr=True, quiet=as_json)
    with console.status(f"loading {model.name} on {device}"):
        session = InferenceSession(
            model, license=license_path, device=device, private=asker
        )
    with session:
        feeds = read_arrays(inputs, session.get_inputs())
        with console.status("running"):
            outputs = session.run(None, feeds)
        report = _report(session, outputs, output_dir)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _asker(model: Path, certificate: Path) -> Asker:
    from undercroft.enroll import DeviceCertificate
    from undercroft.private import Asker

    key = DeviceCertificate.load(certificate).public_key
    return Asker.of_model(model, device=key)


def _report(
    session: InferenceSession,
    outputs: list[npt.NDArray[np.float32]],
    output_dir: Path | None,
) -> dict[str, Any]:
    rows = []
    for info, array in zip(session.get_outputs(), outputs, strict=True):
        row = _describe(info, array)
        if output_dir is not None:
            row["file"] = str(write_array(output_dir, info.name, array))
        rows.append(row)
    stats = session.last_stats
    return {
        "device": session.device.kind,
        "outputs": rows,
        "stats": stats.as_dict() if stats is not None else None,
    }


def _describe(info: TensorInfo, array: npt.NDArray[np.float32]) -> dict[str, Any]:
    flat = array.reshape(-1)
    best = int(flat.argmax()) if flat.size else None
    return {
        "name": info.name,
        "shape": list(info.shape),
        "dtype": info.dtype,
        "argmax": best,
        "max": float(flat[best]) if best is not None else None,
    }


def _print_report(report: dict[str, Any]) -> None:
    for row in report["outputs"]:
        place = f" in {row['file']}" if "file" in row else ""
        click.echo(
            f"{row['name']} {row['dtype']} {row['shape']}: largest element "
            f"{row['max']:.6g} at {row['argmax']}{place}"
        )
    stats = report["stats"]
    click.echo(
        f"{report['device']}: {stats['secure_peak_bytes'] / 2**20:.2f} MiB secure "
        f"memory at most, {stats['decrypted_bytes'] / 2**20:.2f} MiB decrypted, "
        f"{stats['world_switches']} world switches, {stats['seconds']:.2f} s"
    )
