# SPDX-License-Identifier: Apache-2.0
"""Count multiply-accumulates per instruction of whole networks, by operator.

python benchmarks/operators.py                    # every known network, recorded
python benchmarks/operators.py --model resnet-50  # one, added to the record

Every distinct operator of a network is counted once in user-mode emulation, which
gives the same figure each time. What a plan adds (bands, copies) and decryption are
not in it; `undercroft bench` measures whole inferences. Recorded network by network,
so that an interrupted run goes on where it was; `--again` counts all anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.instructions import count_instructions
from helpers.networks import network_layers
from helpers.op_runner import OpError
from undercroft import _models
from undercroft._bench.environment import fingerprint, host
from undercroft._format.files import write_file
from undercroft._import import import_model
from undercroft.errors import Error

RESULT = Path(__file__).parent / "results" / "operators-arm64.json"
VARIANT = "arm64-a73"


def count(model: str) -> dict[str, Any]:
    """Count one network."""
    graph = import_model(_models.get(model), dict(_models.info(model).input_shapes))
    # A constant only comes out of the stream; nothing is computed.
    layers = [layer for layer in network_layers(graph) if layer.op.a is not None]
    times: Counter[str] = Counter()
    macs: Counter[str] = Counter()
    instructions: Counter[str] = Counter()
    for index, layer in enumerate(layers):
        if sys.stdout.isatty():
            print(
                f"\r  {index + 1} of {len(layers)} {layer.name:40}", end="", flush=True
            )
        spent = count_instructions(VARIANT, layer)
        times[layer.name] += layer.times
        macs[layer.name] += layer.macs * layer.times
        instructions[layer.name] += spent * layer.times
    if sys.stdout.isatty():
        print("\r" + " " * 60 + "\r", end="")
    return {
        "model": model,
        "macs": macs.total(),
        "instructions": instructions.total(),
        "classes": [
            {
                "operator": name,
                "times": times[name],
                "macs": macs[name],
                "instructions": spent,
            }
            for name, spent in instructions.most_common()
        ],
    }


def main() -> int:
    """Count and record."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", action="append", choices=_models.names())
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    rows: dict[str, Any] = {}
    if RESULT.exists():
        rows = {row["model"]: row for row in json.loads(RESULT.read_text())["rows"]}
    failed = 0
    for model in given.model or _models.names():
        state = fingerprint()
        row = rows.get(model)
        if given.again or row is None or row["fingerprint"] != state:
            try:
                row = count(model) | {"fingerprint": state}
            except (Error, OpError, AssertionError) as error:
                print(f"{model:20} not counted: {str(error).splitlines()[0]}")
                failed = 1
                continue
        rows[model] = row
        print(
            f"{model:20} {row['macs'] / 1e6:8.1f} M MAC "
            f"{row['instructions'] / 1e6:8.1f} M instructions "
            f"{row['macs'] / row['instructions']:5.2f} each"
        )
        order = [rows[name] for name in _models.names() if name in rows]
        document = {"environment": host() | {"kernels": VARIANT}, "rows": order}
        write_file(RESULT, (json.dumps(document, indent=1) + "\n").encode())
    return failed


if __name__ == "__main__":
    sys.exit(main())
