# SPDX-License-Identifier: Apache-2.0
"""Networks with random weights: the literature's shapes, answers worth comparing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import models
from undercroft import _models
from undercroft._models import zoo
from undercroft.errors import EnvironmentMissingError

LARGE = {"alexnet", "vgg-16"}
NAMES = [
    pytest.param(name, marks=[pytest.mark.zoo] if name in LARGE else [])
    for name in zoo.ARCHITECTURES
]


def outputs(name: str, count: int) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(_models.get(name))
    generator = np.random.default_rng(1)
    shape = _models.info(name).input_shapes["x"]
    return [
        session.run(None, {"x": generator.standard_normal(shape, np.float32)})[0]
        for _ in range(count)
    ]


def test_each_architecture_has_a_builder() -> None:
    assert list(models.BUILDERS) == list(zoo.ARCHITECTURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_as_many_as_published(name: str) -> None:
    graph = onnx.load(_models.get(name)).graph
    statistics = {
        value
        for node in graph.node
        for value in (node.input[3:] if node.op_type == "BatchNormalization" else ())
    }
    bounds = {value for node in graph.node for value in bounds_of(node)}
    total = sum(
        int(np.prod(tensor.dims))
        for tensor in graph.initializer
        if tensor.name not in statistics | bounds
    )
    assert total == zoo.ARCHITECTURES[name].parameters


def bounds_of(node: onnx.NodeProto) -> list[str]:
    return list(node.input[1:]) if node.op_type == "Clip" else []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_different_inputs_give_different_answers(name: str) -> None:
    found = outputs(name, 4)
    assert all(output.shape == (1, 1000) for output in found)
    assert all(np.isfinite(output).all() for output in found)
    assert all(0.05 < np.abs(output).max() < 100 for output in found)
    assert len({int(output.argmax()) for output in found}) >= 3
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] < 0.9


def test_same_name_gives_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "net.onnx", tmp_path / "b" / "net.onnx"
    for path in (first, second):
        path.parent.mkdir()
        models.build("squeezenet-1.1", path)
    assert first.read_bytes() == second.read_bytes()


def test_without_a_checkout_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zoo, "_BUILDERS", tmp_path)
    with pytest.raises(EnvironmentMissingError, match="not installed"):
        _models.get("resnet-18")


def test_failing_builder_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path))
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no memory"),
    )
    with pytest.raises(EnvironmentMissingError, match="no memory"):
        _models.get("resnet-18")
    assert list((tmp_path / "models").iterdir()) == []
