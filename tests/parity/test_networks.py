# SPDX-License-Identifier: Apache-2.0
"""Whole networks, sealed and run by the engine, against onnxruntime.

Every small network of `helpers.onnx_nets`: odd shapes, strides, groups,
broadcasts, channel counts that are no multiple of 8. Planned without a limit,
and for the least memory that will do, so that weights stream in small steps.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest

from helpers.onnx_nets import Case, all_cases
from undercroft.errors import BudgetExceededError, UnsupportedModelError
from undercroft.plan import plan
from undercroft.verify import Verification, verify

pytestmark = pytest.mark.engine

CASES = all_cases()
SMALL_PAGE_BUDGET = 1


def test_there_are_enough_networks() -> None:
    assert len(CASES) >= 100


def least_budget(path: Path, case: Case) -> int:
    with pytest.raises(BudgetExceededError) as refusal:
        plan(path, SMALL_PAGE_BUDGET, input_shapes=case.input_shapes)
    return refusal.value.needed_bytes


def run(path: Path, case: Case, budget: int | str) -> Verification:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The host device protects nothing.
        return verify(
            path, budget=budget, device="host:", input_shapes=case.input_shapes
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_sealed_answer_is_onnxruntimes(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(case.model, path)
    for budget in (12 << 20, least_budget(path, case)):
        result = run(path, case, budget)
        assert result.passed, (budget, result.max_rel_error)
        assert result.stats.secure_peak_bytes <= budget


def test_what_is_not_supported_is_refused(tmp_path: Path) -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    node = onnx.helper.make_node("Sin", ["x"], ["y"], name="wave")
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    path = tmp_path / "model.onnx"
    onnx.save(onnx.helper.make_model(graph), path)
    with pytest.raises(UnsupportedModelError, match="wave"):
        plan(path, "1MiB")
