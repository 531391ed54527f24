# SPDX-License-Identifier: Apache-2.0
"""Memory and disks of the normal world dumped while a model infers.

Asset: weights, program, keys and activations; input and output of a private inference.
Attack: the board's whole normal-world memory and disks read from outside, in the middle
    of inferences, and searched for 16-byte windows.
Defence: plaintext exists in secure memory alone, which nobody reads from there. The
    same search over a run of the same engine in the normal world finds every kind of
    secret, and over a plain inference of the same input both input and output.
Invariant: 1, 7, 11
Runs on: board
Also: tests/unit/test_leaks.py, tests/unit/test_leakproof.py
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from helpers.attacked import assert_right
from undercroft import _board, _models
from undercroft._bench.exchange import Exchange, run_on_board
from undercroft._bench.guest import array_of, bytes_of
from undercroft._board.recipe import RAM_BYTES
from undercroft._leakproof import (
    ACTIVATIONS,
    CONTENT_KEY,
    INPUT,
    MODEL_WEIGHTS,
    PACKED_WEIGHTS,
    PAGE_KEY,
    PRIVATE_INPUT,
    PRIVATE_OUTPUT,
    PROGRAM,
    Inferring,
    Secrets,
    activation_ranges,
    quick_proof,
    scan,
    snapshot,
)
from undercroft._models import imagenet
from undercroft.attestation import DEVELOPMENT_POLICY
from undercroft.enroll import enroll
from undercroft.keys import DevicePublicKey, ModelKey, ProviderKey
from undercroft.license import issue
from undercroft.plan import plan
from undercroft.seal import seal
from undercroft.session import InferenceSession

pytestmark = [pytest.mark.board, pytest.mark.models, pytest.mark.timeout(1500)]

BOARD = "leaks"
BUDGET = "12MiB"
SECRETS = {CONTENT_KEY, PAGE_KEY, PROGRAM, PACKED_WEIGHTS, MODEL_WEIGHTS, ACTIVATIONS}
# Fractions of an inference after which the board is stopped and copied.
MOMENTS = (0.35, 0.7)
LOOK_AFTER_PUSHES = 12


@dataclass
class Runs:
    """Both runs, and copies of the board's memory and disk made meanwhile."""

    board: _board.BoardInfo
    secrets: Secrets
    secure_copies: list[list[Path]]
    control_copy: list[Path]
    secure_output: np.ndarray
    control_output: np.ndarray
    last_output: np.ndarray
    expected: np.ndarray
    live_line: str
    live_leaked: int
    live_inferences: int
    inferences: int
    decrypted_bytes: int
    private: PrivateRuns


@dataclass
class PrivateRuns:
    """An inference in private and one of the same input in plain, on one board.

    The asker is this process, outside of the board.
    """

    secrets: Secrets
    private_copy: list[Path]
    plain_copy: list[Path]
    private_output: np.ndarray
    plain_output: np.ndarray


def copy_while_inferring(
    board: _board.BoardInfo, session: InferenceSession, image: np.ndarray, folder: Path
) -> list[Path]:
    """Copy memory and disk in the middle of an inference."""
    assert session.last_stats is not None
    with Inferring(lambda: session.run(None, {"x": image})):
        time.sleep(session.last_stats.seconds / 2)
        return snapshot(board, folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("leaks")
    onnx_path = _models.get("efficientnet-lite0")
    photo = imagenet.photo_input()
    model_plan = plan(onnx_path, budget=BUDGET)
    provider, model_key = ProviderKey.generate(), ModelKey.generate()
    sealed = folder / "model.sealed"
    seal(
        onnx_path,
        sealed,
        plan=model_plan,
        signing_key=provider,
        model_id=model_key.model_id,
        content_key=model_key.content_key,
    )
    secrets = Secrets.of(model_plan, sealed, model_key, onnx_path=onnx_path)
    secrets.add_input(photo.tobytes())

    def license_for(device: DevicePublicKey) -> bytes:
        return issue(model_key=model_key, device=device, signing_key=provider)

    # A board that never held anything but what this run brings.
    _board.down(BOARD, wipe=True)
    board = _board.ensure_up(BOARD)
    try:
        uri = f"board:{BOARD}"
        permit = license_for(enroll(uri, policy=DEVELOPMENT_POLICY).public_key)
        # Before anything else: this image was never in the board's memory.
        image = np.ascontiguousarray(photo[..., ::-1]) * np.float32(0.75)
        with InferenceSession(
            sealed, license=permit, device=uri, private=True
        ) as session:
            (private_output,) = session.run(None, {"x": image})
            private_copy = copy_while_inferring(
                board, session, image, folder / "private"
            )
        with InferenceSession(sealed, license=permit, device=uri) as session:
            (secure_output,) = session.run(None, {"x": photo})
            stats = session.last_stats
            assert stats is not None

            copies = []
            with Inferring(lambda: session.run(None, {"x": photo})) as inferring:
                began = time.monotonic()
                for number, moment in enumerate(MOMENTS):
                    time.sleep(
                        max(0, began + moment * stats.seconds - time.monotonic())
                    )
                    copies.append(snapshot(board, folder / f"secure-{number}"))
            live = quick_proof(
                board, secrets, infer=lambda: session.run(None, {"x": photo})
            )
            (last_output,) = session.run(None, {"x": photo})
            (plain_output,) = session.run(None, {"x": image})
            plain_copy = copy_while_inferring(board, session, image, folder / "plain")

        device_key = X25519PrivateKey.generate()
        public = device_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        control_copy: list[Path] = []

        def look(_question: bytes) -> bytes:
            control_copy.extend(snapshot(board, folder / "control"))
            return b"seen"

        with Exchange() as exchange:
            exchange.offer("model.sealed", sealed)
            exchange.offer("model.onnx", onnx_path)
            exchange.offer("content-key", model_key.content_key)
            exchange.offer("license", license_for(DevicePublicKey(public)))
            exchange.offer("input", bytes_of(photo))
            exchange.on_question("look", look)
            task = {
                "folder": "/tmp",
                "device": "host:?arena=12MiB",
                "private_key": device_key.private_bytes_raw().hex(),
                "inputs": ["input"],
                "activations": activation_ranges(model_plan),
                "look_after_pushes": LOOK_AFTER_PUSHES,
            }
            run_on_board(BOARD, "undercroft._bench.control", task, exchange)
            activations = exchange.answer("activations")
            control_output = array_of(exchange.answer("outputs") or b"")
        assert activations
        secrets.add_activations(activations, outputs=control_output.tobytes())
        yield Runs(
            board=board,
            secrets=secrets,
            secure_copies=copies,
            control_copy=control_copy,
            secure_output=secure_output,
            control_output=control_output,
            last_output=last_output,
            expected=onnxruntime.InferenceSession(str(onnx_path)).run(
                None, {"x": photo}
            )[0],
            live_line=live.line,
            live_leaked=live.result.without(INPUT).clean is False,
            live_inferences=live.inferences,
            inferences=inferring.completed,
            decrypted_bytes=stats.decrypted_bytes,
            private=PrivateRuns(
                secrets=Secrets.of_private_io(
                    inputs=image.tobytes(), outputs=private_output.tobytes()
                ),
                private_copy=private_copy,
                plain_copy=plain_copy,
                private_output=private_output,
                plain_output=plain_output,
            ),
        )
    finally:
        _board.down(BOARD, wipe=True)


def test_the_next_honest_answer_is_right(runs):
    assert_right([runs.last_output], [runs.expected])


def test_enough_is_looked_for(runs):
    needles = runs.secrets.search.needles
    assert set(needles) == SECRETS | {INPUT}
    assert needles[CONTENT_KEY] == needles[PAGE_KEY] == 2
    assert needles[PROGRAM] >= 64
    # Four in each page of 64 KiB and more.
    assert needles[PACKED_WEIGHTS] >= 18_000_000 // 65536 * 4
    assert needles[MODEL_WEIGHTS] >= 18_000_000 // 65536 * 4
    assert needles[ACTIVATIONS] >= 10_000
    assert needles[INPUT] >= 1_000


def test_both_runs_compute_the_same_activations(runs):
    """To the bit, or windows of the one could not be found in the other."""
    assert np.array_equal(runs.secure_output, runs.control_output)


@pytest.mark.parametrize("moment", range(len(MOMENTS)))
def test_the_normal_world_holds_no_secret(runs, moment):
    result = scan(runs.secrets, runs.secure_copies[moment])
    assert result.scanned_bytes >= RAM_BYTES + runs.board.state_image.stat().st_size
    assert result.without(INPUT).clean, (result.found, result.first_offsets)
    # The photo comes through normal memory: the search sees what is there.
    assert result.found[INPUT] >= result.needles[INPUT] // 2
    assert runs.inferences >= 1
    assert runs.decrypted_bytes > 4 << 20  # weights stream while we look


def test_the_disks_hold_no_secret(runs):
    images = [runs.board.root_image, runs.board.payload_image]
    result = scan(runs.secrets, images)
    assert result.scanned_bytes >= 100 << 20
    assert result.clean, (result.found, result.first_offsets)


def test_the_same_search_finds_everything_in_the_control(runs):
    result = scan(runs.secrets, runs.control_copy)
    print("found of", result.needles, result.found)
    for kind in SECRETS | {INPUT}:
        assert result.found[kind] > 0, (kind, result.found)
    assert result.found[CONTENT_KEY] == result.found[PAGE_KEY] == 2
    assert result.found[PROGRAM] >= result.needles[PROGRAM] * 9 // 10
    assert result.found[MODEL_WEIGHTS] >= result.needles[MODEL_WEIGHTS] * 9 // 10
    # What is resident, and what lies in the window at that moment.
    assert result.found[PACKED_WEIGHTS] >= result.needles[PACKED_WEIGHTS] // 5


def test_a_live_search_in_one_line(runs):
    assert not runs.live_leaked
    assert runs.live_inferences >= 1
    assert "normal-world memory and disk searched while inferring" in runs.live_line


def test_the_normal_world_sees_nothing_of_a_private_inference(runs):
    private = runs.private
    needles = private.secrets.search.needles
    assert needles[PRIVATE_INPUT] >= 5_000
    assert needles[PRIVATE_OUTPUT] >= 50
    result = scan(private.secrets, private.private_copy)
    assert result.scanned_bytes >= RAM_BYTES + runs.board.state_image.stat().st_size
    assert result.clean, (result.found, result.first_offsets)


def test_it_sees_all_of_a_plain_inference_of_the_same_input(runs):
    private = runs.private
    assert np.array_equal(private.private_output, private.plain_output)
    result = scan(private.secrets, private.plain_copy)
    print("found of", result.needles, result.found)
    assert result.found[PRIVATE_INPUT] >= result.needles[PRIVATE_INPUT] // 2
    # Of the inference before, or of its answer on the way.
    assert result.found[PRIVATE_OUTPUT] >= result.needles[PRIVATE_OUTPUT] // 2
