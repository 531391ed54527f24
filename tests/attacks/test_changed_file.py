# SPDX-License-Identifier: Apache-2.0
"""A sealed file changed in any byte, cut, or with its pages in other places.

Asset: the answer, and what a wrong program or weights would make of secure memory.
Attack: every byte of a small file changed; pages swapped, repeated, of another sealing
    of the same model; the file cut at any place.
Defence: a page is verified at its index, below a key that its header makes, before any
    of its bytes is used.
Invariant: 1, 4
Runs on: host
Also: tests/device/test_client_engine.py, tests/engine/test_run.c
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import undercroft as uc
from helpers.attacked import assert_right
from helpers.provider import Device, test_key
from undercroft._device.client import ModelClient
from undercroft._device.host import HostDevice, NoProtectionWarning
from undercroft.errors import FormatError, VerificationError

pytestmark = pytest.mark.engine

LAYERS, WIDTH = 6, 24
BUDGET_BYTES = 22 << 10
PARTS = 5
REFUSALS = (FormatError, VerificationError)


@dataclass
class Small:
    """A small sealed network and a device that may run it."""

    path: Path
    license: bytes
    device: HostDevice
    x: np.ndarray
    y: np.ndarray

    def run(self) -> np.ndarray:
        """Load the file and infer once."""
        client = ModelClient(self.device.open(), self.path, self.license)
        try:
            ((y,), _) = client.infer([self.x])
            return y
        finally:
            client.close()


def network() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """Return a chain of matrix products, an input, and numpy's answer."""
    source = np.random.default_rng(5)
    x = source.standard_normal((1, WIDTH), dtype=np.float32)
    weights = [
        source.standard_normal((WIDTH, WIDTH), dtype=np.float32) / WIDTH**0.5
        for _ in range(LAYERS)
    ]
    y = x
    for weight in weights:
        y = y @ weight
    names = ["x", *(f"y{i}" for i in range(LAYERS))]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]])
            for i in range(LAYERS)
        ],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WIDTH])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8), x, y


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("whole_file")
    model, x, y = network()
    plan = uc.plan(model, budget=BUDGET_BYTES, page_bytes=4096)
    # Pages of every kind, or the test would not say what it claims to.
    assert plan.program_pages
    assert plan.resident_pages
    assert plan.streamed_pages
    path = folder / "small.sealed"
    key = uc.ProviderKey.from_seed(test_key("provider"))
    sealed = uc.seal("unused", path, plan=plan, signing_key=key)
    device = Device(test_key("device"))
    permit = uc.issue_license(
        model_key=sealed.model_key, device=device.public, signing_key=key
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoProtectionWarning)
        host = HostDevice("host:?arena=64KiB", private_key=device.private)
    return Small(path, permit, host, x, y)


def assert_next_is_right(small: Small) -> None:
    """Hold that the file, untouched again, gives the right answer."""
    assert_right([small.run()], [small.y])


def test_the_untouched_file_gives_the_right_answer(small):
    assert_next_is_right(small)


@pytest.mark.parametrize("part", range(PARTS))
def test_no_change_of_one_byte_is_accepted(small, part):
    good = small.path.read_bytes()
    descriptor = os.open(small.path, os.O_WRONLY)
    try:
        # Every position belongs to one part.
        for at in range(part, len(good), PARTS):
            byte = good[at]
            os.pwrite(descriptor, bytes([byte ^ 1 << at % 8]), at)
            with pytest.raises(REFUSALS):
                small.run()
            os.pwrite(descriptor, bytes([byte]), at)
    finally:
        os.close(descriptor)
    assert small.path.read_bytes() == good
    assert_next_is_right(small)


def slots(small: Small) -> tuple[bytes, list[bytes]]:
    """Return the file up to its pages, and its pages."""
    with uc.SealedModel.open(small.path) as sealed:
        pages = [sealed.page(index) for index in range(sealed.header.page_count)]
        start = small.path.read_bytes()[: sealed.pages_offset]
    return start, pages


def test_no_two_pages_can_change_places(small):
    start, pages = slots(small)
    good = start + b"".join(pages)
    try:
        for first in range(len(pages)):
            for second in range(first):
                moved = list(pages)
                moved[first], moved[second] = moved[second], moved[first]
                small.path.write_bytes(start + b"".join(moved))
                with pytest.raises(VerificationError):
                    small.run()
    finally:
        small.path.write_bytes(good)
    assert_next_is_right(small)


def test_no_page_can_stand_for_another(small):
    start, pages = slots(small)
    good = start + b"".join(pages)
    try:
        for index in range(len(pages)):
            for other in range(len(pages)):
                if other == index:
                    continue
                repeated = list(pages)
                repeated[index] = pages[other]
                small.path.write_bytes(start + b"".join(repeated))
                with pytest.raises(VerificationError):
                    small.run()
    finally:
        small.path.write_bytes(good)
    assert_next_is_right(small)


def test_pages_of_another_sealing_of_the_same_model_are_refused(small, tmp_path):
    start, pages = slots(small)
    good = start + b"".join(pages)
    model, _, _ = network()
    plan = uc.plan(model, budget=BUDGET_BYTES, page_bytes=4096)
    again = uc.seal(
        "unused",
        tmp_path / "again.sealed",
        plan=plan,
        signing_key=uc.ProviderKey.from_seed(test_key("provider")),
        key_file=small.path.with_name("small.sealed.key"),
    )
    with uc.SealedModel.open(again.path) as sealed:
        others = [sealed.page(index) for index in range(len(pages))]
    try:
        for index, other in enumerate(others):
            mixed = [*pages[:index], other, *pages[index + 1 :]]
            small.path.write_bytes(start + b"".join(mixed))
            with pytest.raises(VerificationError):
                small.run()
    finally:
        small.path.write_bytes(good)
    assert_next_is_right(small)


def test_every_truncation_is_refused_before_the_device_sees_it(small):
    good = small.path.read_bytes()
    try:
        for length in range(0, len(good), 97):
            small.path.write_bytes(good[:length])
            with pytest.raises(FormatError):
                small.run()
    finally:
        small.path.write_bytes(good)
    assert_next_is_right(small)
