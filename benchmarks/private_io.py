# SPDX-License-Identifier: Apache-2.0
"""What sealed inputs and outputs cost an inference, on the emulated board.

python benchmarks/private_io.py                   # on the emulated board, print
python benchmarks/private_io.py --record          # write results/private_io.json

EfficientNet-Lite0 in 12 MiB, 602 KB of input and 4 KB of output, in plain and in
private, by the board's clock, on which a nanosecond is an instruction. The figures are
those of the last of several inferences of one session.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import undercroft as uc
from undercroft import _board, _models
from undercroft._bench.environment import describe
from undercroft._models import imagenet
from undercroft.attestation import DEVELOPMENT_POLICY
from undercroft.errors import Error

RESULTS = Path(__file__).parent / "results"
MODEL = "efficientnet-lite0"
BUDGET = "12MiB"
SUITES = ("aes-256-gcm", "aegis-128l")
RUNS = 3


def measure(board: str) -> dict[str, Any]:
    """Return what the board answers; an answer that differs is an error."""
    info = _board.ensure_up(board, clock="instructions", progress=print)
    uri = f"board:{board}"
    device = uc.enroll(uri, policy=DEVELOPMENT_POLICY)
    key = uc.ProviderKey.generate()
    photo = imagenet.photo_input()
    rows, told = [], {}
    for suite in SUITES:
        plan = uc.plan(_models.get(MODEL), budget=BUDGET, suite=suite)
        answers, row = {}, {"model": MODEL, "budget": BUDGET, "suite": suite}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.sealed"
            sealed = uc.seal(path, path, plan=plan, signing_key=key)
            permit = uc.issue_license(
                model_key=sealed.model_key, device=device.public_key, signing_key=key
            )
            for name, private in (("plain", False), ("private", True)):
                with uc.InferenceSession(
                    path, license=permit, device=uri, private=private
                ) as session:
                    told = session.device.info().as_dict()
                    for _ in range(RUNS):
                        (answers[name],) = session.run(None, {"x": photo})
                    stats = session.last_stats
                assert stats is not None
                assert stats.ticks is not None
                row[f"{name}_instructions"] = stats.instructions
                row[f"{name}_world_switches"] = stats.world_switches
                nanoseconds = stats.ticks.decrypt * 10**9 // stats.ticks.hz
                row[f"{name}_decrypt_instructions"] = nanoseconds
        assert np.array_equal(answers["plain"], answers["private"])
        rows.append(row)
    return {"environment": describe(info, {"device": told}), "rows": rows}


def main() -> None:
    """Measure, print, and record when asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--board", default="private-io")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    try:
        result = measure(arguments.board)
    except Error as error:
        sys.exit(f"{error.message}\n{error.hint or ''}")
    finally:
        _board.down(arguments.board)
    print(json.dumps(result, indent=2))
    if arguments.record:
        (RESULTS / "private_io.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
