# SPDX-License-Identifier: Apache-2.0
"""What licenses cost a device: opening a model, and beginning an inference.

python benchmarks/license.py                      # on the emulated board, print
python benchmarks/license.py --record             # write results/license.json

A network of a few weights, since neither depends on the network, with a license
without conditions and with one that has all of them: an end, a count and a rate. By the
board's clock, on which a nanosecond is an instruction, and of that only the time
that programs ran: storage waits for the host's disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import undercroft as uc
from undercroft import _board
from undercroft._bench.environment import describe
from undercroft._bench.exchange import Exchange, run_on_board
from undercroft._bench.guest import bytes_of
from undercroft.errors import Error
from undercroft.keys import DevicePublicKey
from undercroft.license import LicenseTerms

RESULTS = Path(__file__).parent / "results"
OPENS = 8
INFERENCES = 128
"""Two batches of what is written down at once."""
OPEN_LIMIT = 40_000_000
INFER_LIMIT_SHARE = 0.01


def tiny_model() -> onnx.ModelProto:
    """A network that costs next to nothing."""
    weight = numpy_helper.from_array(np.ones((8, 4), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def measure(board: str) -> dict[str, Any]:
    """Return what the board answers."""
    info = _board.ensure_up(board, clock="instructions", large=True, progress=print)
    key = uc.ProviderKey.generate()
    with tempfile.TemporaryDirectory() as folder, Exchange() as exchange:
        path = Path(folder) / "model.sealed"
        plan = uc.plan(tiny_model(), "1MiB")
        sealed = uc.seal("tiny", path, plan=plan, signing_key=key)
        terms = {
            "without_conditions": LicenseTerms(),
            "with_all_conditions": LicenseTerms(
                expires=int(time.time()) + 10**8,
                max_inferences=10**6,
                rate=(10**6, 60),
            ),
        }
        for name, conditions in terms.items():
            exchange.on_question(name, issuer(sealed.model_key, key, conditions))
        exchange.on_question("update", lambda _: uc.issue_update(signing_key=key))
        exchange.offer("model.sealed", path)
        exchange.offer("x", bytes_of(np.ones((1, 8), np.float32)))
        task = {
            "folder": "/tmp",
            "inputs": ["x"],
            "licenses": list(terms),
            "opens": OPENS,
            "inferences": INFERENCES,
        }
        answer = run_on_board(
            board,
            "undercroft._bench.licenses",
            task,
            exchange,
            timeout_seconds=1800,
        )
    seen = {"device": answer.pop("info")}
    return {"environment": describe(info, seen), "answer": answer}


def issuer(model_key: uc.ModelKey, key: uc.ProviderKey, terms: LicenseTerms) -> Any:  # noqa: ANN401 a function
    """Return what issues a license to the device that asks."""

    def issue(device_key: bytes) -> bytes:
        return uc.issue_license(
            model_key=model_key,
            device=DevicePublicKey.from_cose_key(device_key),
            signing_key=key,
            terms=terms,
        )

    return issue


def inference_instructions() -> int:
    """What EfficientNet-Lite0 takes in the secure world, as it is recorded."""
    recorded = json.loads((RESULTS / "emulated-board.json").read_text())
    return min(
        int(row["secure_steady_instructions"])
        for row in recorded["rows"]
        if row["model"] == "efficientnet-lite0"
    )


def main() -> None:
    """Measure, print, and record when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", default="license")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    try:
        measured = measure(arguments.board)
    except Error as error:
        sys.exit(f"{error.message}\n{error.hint or ''}")
    finally:
        _board.down(arguments.board)
    answer = measured["answer"]
    inference = inference_instructions()
    rows = {
        name: {
            "open_instructions": int(statistics.median(found["open"])),
            "open_instructions_most": max(found["open"]),
            "inference_instructions": found["inferences"] // INFERENCES,
        }
        for name, found in answer.items()
    }
    check = (
        rows["with_all_conditions"]["inference_instructions"]
        - rows["without_conditions"]["inference_instructions"]
    )
    result = {
        "environment": measured["environment"],
        "opens": OPENS,
        "inferences": INFERENCES,
        "rows": rows,
        "open_limit_instructions": OPEN_LIMIT,
        "check_instructions_per_inference": check,
        "efficientnet_lite0_instructions": inference,
        "check_share": check / inference,
        "check_share_limit": INFER_LIMIT_SHARE,
    }
    print(json.dumps(result, indent=2))
    if arguments.record:
        (RESULTS / "license.json").write_text(json.dumps(result, indent=2) + "\n")
    worst = max(row["open_instructions"] for row in rows.values())
    if worst > OPEN_LIMIT or check / inference > INFER_LIMIT_SHARE:
        sys.exit("over its limit")


if __name__ == "__main__":
    main()
