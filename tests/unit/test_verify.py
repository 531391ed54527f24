# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from undercroft.errors import InputError
from undercroft.tensor import TensorInfo
from undercroft.verify import compare, random_inputs


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_error_is_against_the_largest_magnitude() -> None:
    result = compare("y", floats(1, -4.002), floats(1, -4), 1e-4)
    assert result.max_abs_error == pytest.approx(0.002, rel=1e-3)
    assert result.max_rel_error == pytest.approx(0.0005, rel=1e-3)
    assert result.argmax_match


def test_another_largest_element() -> None:
    assert not compare("y", floats(1, 2), floats(2, 1), 1e-4).argmax_match


def test_a_tie_within_the_tolerance_is_the_same_place() -> None:
    assert compare("y", floats(1, 1.00001), floats(1.00001, 1), 1e-4).argmax_match


def test_all_zero_output() -> None:
    assert compare("y", floats(0, 0), floats(0, 0), 1e-4).max_rel_error == 0
    assert compare("y", floats(0, 0.5), floats(0, 0), 1e-4).max_rel_error == 0.5


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_matches_nothing(wrong: float) -> None:
    result = compare("y", floats(1, wrong), floats(1, 2), 1e-4)
    assert result.max_rel_error == float("inf")
    assert not result.argmax_match


def test_the_same_infinities_match() -> None:
    result = compare("y", floats(1, np.inf), floats(1, np.inf), 1e-4)
    assert result.max_rel_error == 0
    assert result.argmax_match


def test_another_shape() -> None:
    with pytest.raises(InputError, match=r"\[2\]; onnxruntime gives \[1\]"):
        compare("y", floats(1, 2), floats(1), 1e-4)


def test_random_inputs_are_the_same_for_a_seed() -> None:
    infos = [TensorInfo("a", (50, 50)), TensorInfo("b", (3,))]
    first, again, other = (random_inputs(infos, seed) for seed in (3, 3, 4))
    assert np.array_equal(first["a"], again["a"])
    assert not np.array_equal(first["a"], other["a"])
    assert first["a"].dtype == np.float32
    assert abs(first["a"].mean()) < 0.1
    assert abs(first["a"].std() - 1) < 0.1
