# SPDX-License-Identifier: Apache-2.0
"""The parity tests' networks are valid, distinct and repeatable."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from helpers.onnx_nets import MINIMUM_CASES, Case, all_cases, case, random_inputs


def test_there_are_many() -> None:
    assert len(all_cases()) >= MINIMUM_CASES


@pytest.mark.parametrize("one", all_cases(), ids=str)
def test_onnxruntime_runs_it(one: Case) -> None:
    session = onnxruntime.InferenceSession(one.model.SerializeToString())
    for output in session.run(None, random_inputs(one)):
        assert np.isfinite(output).all()
        # An output that is all the same would make any engine look right.
        assert output.size == 1 or output.std() > 1e-4


def test_inputs_repeat_and_differ_by_seed() -> None:
    one = case("two_branches")
    first, again, other = (random_inputs(one, seed)["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_models_repeat() -> None:
    before = {one.name: one.model.SerializeToString() for one in all_cases()}
    all_cases.cache_clear()
    assert {one.name: one.model.SerializeToString() for one in all_cases()} == before
