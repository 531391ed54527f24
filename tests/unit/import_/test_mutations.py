# SPDX-License-Identifier: Apache-2.0
"""Damaged and odd models: one of our errors, or the right answer.

Nothing else may happen: no other exception, and no plan that computes
something else than onnxruntime does.
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import reference
from helpers.onnx_nets import Case, all_cases, case
from undercroft.errors import ModelError
from undercroft.plan import plan

SIZES = [-1, 0, 1, 2, 3, 5, 7]
NUMBERS = [0.0, -1.0, 0.25, 1e30, float("inf"), float("nan")]
PADDINGS = [b"SAME_UPPER", b"SAME_LOWER", b"VALID", b"NOTSET", b"?"]
OPERATORS = [
    "Add",
    "Flatten",
    "GlobalAveragePool",
    "HardSwish",
    "MatMul",
    "MaxPool",
    "Mul",
    "ReduceMean",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Squeeze",
    "Transpose",
]


@pytest.mark.parametrize("seed", range(6))
def test_damaged_files(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "model.onnx"
    names = ["lenet", "mobile_network_v3", "reshape_to_image", "two_branches"]
    outcomes = set()
    for _ in range(50):
        data = bytearray(case(chance.choice(names)).model.SerializeToString())
        for _ in range(chance.randint(1, 4)):
            place = min(chance.randrange(3000), len(data) - 1)
            if chance.random() < 0.5:
                place = len(data) - 1 - place
            if chance.random() < 0.7:
                data[place] = chance.randrange(256)
            else:
                del data[place : place + chance.randint(1, 8)]
        path.write_bytes(data)
        try:
            plan(path)
            outcomes.add("planned")
        except ModelError:
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("seed", range(6))
def test_odd_attributes(seed: int) -> None:
    chance = random.Random(seed)
    same = 0
    for _ in range(60):
        model = mutated(chance.choice(all_cases()), chance)
        try:
            model = onnx.shape_inference.infer_shapes(model)
        except onnx.shape_inference.InferenceError:
            continue
        try:
            made = plan(model, chance.choice([None, "4MiB"]))
        except ModelError:
            continue
        rng = np.random.default_rng(seed)
        inputs = {
            info.name: rng.standard_normal(info.shape).astype(np.float32)
            for info in made.inputs
        }
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), options)
            expected = session.run(None, inputs)
        # Some nodes load, and fail when they run; onnxruntime has no base class.
        except Exception:
            continue
        if not all(np.isfinite(wanted).all() for wanted in expected):
            continue
        for output, wanted in zip(reference.run(made, inputs), expected, strict=True):
            assert output.shape == wanted.shape
            np.testing.assert_allclose(output, wanted, rtol=1e-4, atol=1e-4)
        same += 1
    assert same > 5


def mutated(original: Case, chance: random.Random) -> onnx.ModelProto:
    """A copy with one to three nodes changed."""
    model = onnx.ModelProto.FromString(original.model.SerializeToString())
    del model.graph.value_info[:]
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    for _ in range(chance.randint(1, 3)):
        node = chance.choice(model.graph.node)
        if node.attribute and chance.random() < 0.7:
            change(chance.choice(node.attribute), chance)
        elif len(node.input) > 1 and chance.random() < 0.5:
            node.input.pop()
        else:
            node.op_type = chance.choice(OPERATORS)
    return model


def change(attribute: onnx.AttributeProto, chance: random.Random) -> None:
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice(SIZES)
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = chance.choice(NUMBERS)
    elif attribute.type == onnx.AttributeProto.STRING:
        attribute.s = chance.choice(PADDINGS)
    elif attribute.ints and chance.random() < 0.9:
        attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(SIZES)
    elif attribute.ints:
        attribute.ints.pop()
