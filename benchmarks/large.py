# SPDX-License-Identifier: Apache-2.0
"""Verify a network of more than 2 GiB of weights, which lie in external data.

python benchmarks/large.py             # on host:, print
python benchmarks/large.py --record    # write results/large.json

It makes a network of five square matrices of half a GiB each, with random weights, in
a folder that goes away: 2.7 GB of disk for it, as much again while it is sealed.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from undercroft._bench.environment import host
from undercroft.verify import verify

RESULT = Path(__file__).parent / "results" / "large.json"
LAYERS, SIZE = 5, 11585


def build(folder: Path) -> Path:
    """Write the network, its matrices one at a time."""
    generator = np.random.default_rng(1)
    length = SIZE * SIZE * 4
    nodes, tensors = [], []
    with (folder / "weights.bin").open("wb") as file:
        for index in range(LAYERS):
            matrix = generator.standard_normal((SIZE, SIZE), dtype=np.float32)
            matrix *= np.float32((2 / SIZE) ** 0.5)
            file.write(matrix)
            tensor = TensorProto(
                name=f"w{index}", data_type=TensorProto.FLOAT, dims=[SIZE, SIZE]
            )
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", "weights.bin"),
                ("offset", index * length),
                ("length", length),
            ):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            before = f"r{index - 1}" if index else "x"
            after = "y" if index == LAYERS - 1 else f"m{index}"
            nodes.append(helper.make_node("MatMul", [before, f"w{index}"], [after]))
            if index < LAYERS - 1:
                nodes.append(helper.make_node("Relu", [after], [f"r{index}"]))
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, SIZE])],
        tensors,
    )
    opset = helper.make_opsetid("", 17)
    path = folder / "large.onnx"
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def main() -> int:
    """Build, verify, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--budget", default="12MiB")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-", dir=Path.cwd()) as folder:
        path = build(Path(folder))
        began = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # The host device protects nothing.
            result = verify(path, budget=given.budget, device="host:", progress=print)
    document = result.as_dict() | {
        "model": f"{LAYERS} matrices of {SIZE} x {SIZE}",
        "wall_seconds": round(time.monotonic() - began, 1),
        "process_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10,
        "onnx": onnx.__version__,
        "environment": host(),
    }
    print(json.dumps(document, indent=1))
    if given.record:
        RESULT.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
