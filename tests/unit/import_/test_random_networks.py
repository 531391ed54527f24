# SPDX-License-Identifier: Apache-2.0
"""Random networks that move elements equal onnxruntime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from helpers import reference
from helpers.onnx_nets import random_inputs
from helpers.random_nets import random_net
from undercroft.plan import plan

SEEDS = 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_network(seed: int) -> None:
    case = random_net(seed)
    inputs = random_inputs(case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    model = case.model.SerializeToString()
    expected = onnxruntime.InferenceSession(model, options).run(None, inputs)
    outputs = reference.run(plan(case.model, None), inputs)
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.shape == wanted.shape
        assert np.allclose(output, wanted, rtol=1e-4, atol=1e-5)
