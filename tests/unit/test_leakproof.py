# SPDX-License-Identifier: Apache-2.0
"""The leak proof gathers what is secret, finds it where it is, and only there."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from helpers.onnx_nets import case
from undercroft import _leakproof
from undercroft._leakproof import (
    ACTIVATIONS,
    CONTENT_KEY,
    INPUT,
    MODEL_WEIGHTS,
    PACKED_WEIGHTS,
    PAGE_KEY,
    PROGRAM,
    Inferring,
    Secrets,
    activation_ranges,
    quick_proof,
    scan,
    snapshot,
)
from undercroft.keys import ModelKey, ProviderKey
from undercroft.plan import plan
from undercroft.seal import seal


@dataclass
class Sealed:
    plan: object
    path: Path
    onnx_path: Path
    key: ModelKey
    secrets: Secrets


@dataclass
class FakeBoard:
    """A board that is two files."""

    ram_path: Path
    state_image: Path


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sealed")
    onnx_path, path = folder / "model.onnx", folder / "model.sealed"
    onnx.save(case("lenet").model, str(onnx_path))
    model_plan, key = plan(onnx_path, budget="4MiB"), ModelKey.generate()
    seal(
        onnx_path,
        path,
        plan=model_plan,
        signing_key=ProviderKey.generate(),
        model_id=key.model_id,
        content_key=key.content_key,
    )
    secrets = Secrets.of(model_plan, path, key, onnx_path=onnx_path)
    return Sealed(model_plan, path, onnx_path, key, secrets)


@pytest.fixture
def board(tmp_path):
    fake = FakeBoard(tmp_path / "ram", tmp_path / "state")
    for path in (fake.ram_path, fake.state_image):
        path.write_bytes(np.random.default_rng(5).bytes(1 << 16))
        os.truncate(path, 1 << 20)
    return fake


def test_every_kind_is_gathered(sealed):
    needles = sealed.secrets.search.needles
    assert set(needles) == {
        CONTENT_KEY, PAGE_KEY, PROGRAM, PACKED_WEIGHTS, MODEL_WEIGHTS,
    }  # fmt: skip
    assert needles[CONTENT_KEY] == needles[PAGE_KEY] == 2
    assert needles[PROGRAM] >= 10


def test_the_sealed_file_holds_none(sealed):
    result = scan(sealed.secrets, [sealed.path])
    assert result.clean
    assert result.scanned_bytes == sealed.path.stat().st_size


def test_the_plaintext_holds_all(sealed):
    plaintext = b"".join(
        [
            sealed.plan.program(),
            *map(bytes, sealed.plan.resident()),
            *map(bytes, sealed.plan.stream()),
            sealed.key.content_key,
        ]
    )
    result = sealed.secrets.search.scan_bytes(plaintext)
    for kind in (PROGRAM, PACKED_WEIGHTS, CONTENT_KEY):
        assert result.found[kind] == result.needles[kind], kind
    assert result.found[PAGE_KEY] == 0


def test_weights_as_in_the_model_are_found_in_it(sealed):
    arrays = [
        numpy_helper.to_array(tensor).tobytes()
        for tensor in onnx.load(str(sealed.onnx_path)).graph.initializer
    ]
    result = sealed.secrets.search.scan_bytes(b"".join(arrays))
    assert result.found[MODEL_WEIGHTS] == result.needles[MODEL_WEIGHTS] > 0


def test_outputs_are_no_secret_activations(sealed):
    activation, output = (
        np.random.default_rng(seed).standard_normal(64).astype("f4").tobytes()
        for seed in (1, 2)
    )
    secrets = Secrets(_leakproof.SecretSearch())
    secrets.add_activations(
        activation + output[8:] + bytes(64), outputs=output + bytes(4)
    )
    assert secrets.search.needles == {ACTIVATIONS: len(activation) // 16}
    assert secrets.search.scan_bytes(output).clean


def test_tensors_lie_in_ranges_without_overlap(sealed):
    ranges = activation_ranges(sealed.plan)
    assert ranges
    assert all(begin < end for begin, end in ranges)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert ranges[-1][1] <= sealed.plan.arena_bytes


def test_a_quick_proof_says_so_in_one_line(sealed, board):
    proof = quick_proof(board, sealed.secrets, infer=lambda: None)
    windows = sum(sealed.secrets.search.needles.values())
    assert proof.leaked_windows == 0
    assert proof.inferences >= 1
    assert proof.line == (
        "normal-world memory and disk searched while inferring: 2 MiB for "
        f"{windows:,} windows of weights, program and keys: 0 found"
    )


@pytest.mark.parametrize("where", ["ram_path", "state_image"])
@pytest.mark.parametrize("offset", [0, 12_345, (1 << 20) - 32])
def test_a_quick_proof_finds_a_key_anywhere(sealed, board, where, offset):
    with getattr(board, where).open("r+b") as file:
        file.seek(offset)
        file.write(sealed.key.content_key)
    proof = quick_proof(board, sealed.secrets, infer=lambda: None)
    assert proof.result.found[CONTENT_KEY] == 2
    assert proof.leaked_windows == 2
    assert proof.line.endswith("2 found")


def test_a_failing_inference_is_no_proof(sealed, board):
    def fail() -> None:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        quick_proof(board, sealed.secrets, infer=fail)


def test_inferring_goes_on_until_it_is_left():
    twice, count = threading.Event(), 0

    def infer() -> None:
        nonlocal count
        count += 1
        if count == 2:
            twice.set()

    with Inferring(infer) as inferring:
        assert twice.wait(10)
    assert inferring.completed == count >= 2


def test_a_snapshot_is_a_copy_with_its_holes(board, tmp_path, monkeypatch):
    monkeypatch.setattr(_leakproof, "paused", lambda _board: contextlib.nullcontext())
    copies = snapshot(board, tmp_path / "copies")
    for copy, original in zip(copies, (board.ram_path, board.state_image), strict=True):
        assert copy.read_bytes() == original.read_bytes()
        assert copy.stat().st_blocks * 512 < 1 << 19


def test_an_input_is_looked_for_but_is_no_leak(sealed):
    photo = np.random.default_rng(3).standard_normal(4096).astype("f4").tobytes()
    secrets = Secrets(_leakproof.SecretSearch())
    secrets.search.add(CONTENT_KEY, [sealed.key.content_key[:16]])
    secrets.add_input(photo)
    result = secrets.search.scan_bytes(b"abc" + photo)
    assert result.found[INPUT] == result.needles[INPUT] > 0
    assert not result.clean
    assert result.without(INPUT).clean
