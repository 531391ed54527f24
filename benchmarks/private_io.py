# SPDX-License-Identifier: Apache-2.0
"""What private inputs and outputs cost on the emulated board, in instructions.

``python benchmarks/private_io.py [SUITE]`` runs EfficientNet-Lite0 plain and in
private on a board that counts them, and prints both (docs/agent.md).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import undercroft as uc
from undercroft import _board, _models
from undercroft._models import imagenet
from undercroft.attestation import DEVELOPMENT_POLICY

BOARD = "private-io"
RUNS = 3


def main(suite: str = "aes-256-gcm") -> None:
    """Measure; the first inference of a session pays for its batch of counts."""
    uri = f"board:{BOARD}?clock=instructions"
    key = uc.ProviderKey.generate()
    onnx_path = _models.get("efficientnet-lite0")
    plan = uc.plan(onnx_path, budget="12MiB", suite=suite)
    photo = imagenet.photo_input()
    answers = {}
    try:
        device = uc.enroll(uri, policy=DEVELOPMENT_POLICY)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.sealed"
            sealed = uc.seal(onnx_path, path, plan=plan, signing_key=key)
            permit = uc.issue_license(
                model_key=sealed.model_key, device=device.public_key, signing_key=key
            )
            for private in (False, True):
                with uc.InferenceSession(
                    path, license=permit, device=uri, private=private
                ) as session:
                    for _ in range(RUNS):
                        (answers[private],) = session.run(None, {"x": photo})
                    stats = session.last_stats
                assert stats is not None
                sys.stdout.write(
                    f"{'private' if private else 'plain'}: {stats.instructions} "
                    f"instructions, {stats.world_switches} world switches, "
                    f"{stats.ticks}\n"
                )
    finally:
        _board.down(BOARD)
    assert np.array_equal(answers[False], answers[True])


if __name__ == "__main__":
    main(*sys.argv[1:])
