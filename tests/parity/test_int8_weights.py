# SPDX-License-Identifier: Apache-2.0
"""Networks with weights in 8 bits, sealed and run by the engine.

Two questions. Does the engine compute what those weights say? onnxruntime runs
the model whose weights were rounded in NumPy, and the answers must agree as
closely as with f32. How far is that from the model? `verify` says it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest

from helpers.onnx_nets import Case, Net
from helpers.rounded import rounded_model
from undercroft import _models
from undercroft.errors import BudgetExceededError
from undercroft.plan import Plan, plan
from undercroft.verify import Verification, verify

pytestmark = pytest.mark.engine


def network() -> Case:
    """Every operator that has such weights, in sizes that are worth it."""
    net = Net("int8_weights")
    x = net.input(1, 3, 20, 22)
    x = net.op("Relu", [net.conv(x, 3, 41, 3, pads=1)])
    x = net.op("Relu", [net.conv(x, 41, 97, 3, stride=2, pads=1)])
    x = net.op("Relu", [net.conv(x, 97, 1200, 1)])
    x = net.op("Relu", [net.depthwise(x, 1200, 5, pads=2)])
    x = net.op("Relu", [net.conv(x, 1200, 120, 1)])
    x = net.conv(x, 120, 200, 3, groups=2, pads=1)
    x = net.op("GlobalAveragePool", [x])
    x = net.op("Flatten", [x], axis=1)
    x = net.op("Relu", [net.gemm(x, 200, 300)])
    return net.case(net.softmax(net.matmul(x, 300, 41)))


def rounded_nodes(made: Plan) -> list[str]:
    return [op.name for op in made.ops if op.weights_format == "int8"]


def run(model: Path, case: Case, budget: int | str, **more: object) -> Verification:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The host device protects nothing.
        return verify(
            model,
            budget=budget,
            device="host:",
            weights="int8",
            input_shapes=case.input_shapes,
            **more,  # type: ignore[arg-type]
        )


def least_budget(path: Path, case: Case) -> int:
    with pytest.raises(BudgetExceededError) as refusal:
        plan(path, 1, input_shapes=case.input_shapes, weights="int8")
    return refusal.value.needed_bytes


@pytest.fixture(scope="module")
def case() -> Case:
    return network()


@pytest.fixture
def model(case: Case, tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(case.model, path)
    return path


def test_the_engine_computes_what_the_weights_say(
    case: Case, model: Path, tmp_path: Path
) -> None:
    nodes = rounded_nodes(plan(model, weights="int8"))
    assert len(nodes) == 7
    reference = tmp_path / "rounded.onnx"
    onnx.save(rounded_model(case.model, nodes), reference)
    for budget in (12 << 20, least_budget(model, case)):
        result = run(model, case, budget, reference=reference, tolerance=1e-4)
        assert result.passed, (budget, result.max_rel_error)
        assert result.stats.secure_peak_bytes <= budget


def test_the_error_against_the_model_is_reported(case: Case, model: Path) -> None:
    result = run(model, case, "12MiB")
    assert result.tolerance == 0.1
    assert 1e-4 < result.max_rel_error < 0.05
    assert result.passed
    assert result.as_dict()["weights"] == "int8"


def test_the_file_is_a_quarter_of_the_size(model: Path) -> None:
    f32, int8 = (plan(model, weights=weights) for weights in ("f32", "int8"))
    assert int8.weights_bytes < 0.3 * f32.weights_bytes
    ops = zip(f32.ops, int8.ops, strict=True)
    assert all(a.expected_instructions <= b.expected_instructions for a, b in ops)


@pytest.mark.parametrize("budget", ["12MiB", "7MiB"])
def test_efficientnet_lite0(budget: str, tmp_path: Path) -> None:
    path = _models.get("efficientnet-lite0")
    shapes = dict(_models.info("efficientnet-lite0").input_shapes)
    lite0 = Case("efficientnet-lite0", onnx.load(path), shapes)
    made = plan(path, budget, input_shapes=shapes, weights="int8")
    assert made.weights_bytes < 5.5e6
    reference = tmp_path / "rounded.onnx"
    onnx.save(rounded_model(lite0.model, rounded_nodes(made)), reference)
    exact = run(path, lite0, budget, reference=reference, tolerance=1e-4)
    assert exact.passed, exact.max_rel_error
    if budget == "12MiB":
        assert exact.stats.decrypted_bytes == 0
        error = run(path, lite0, budget).max_rel_error
        assert 1e-3 < error < 0.05, error
