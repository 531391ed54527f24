# SPDX-License-Identifier: Apache-2.0
"""The exporter: the right network, the same bytes each time, sensible answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from undercroft._models import efficientnet_lite0, imagenet, packages, torch_checkpoint
from undercroft.errors import EnvironmentMissingError, FormatError

pytestmark = pytest.mark.models

Weights = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return torch_checkpoint.load(
        packages.read_member(
            packages.EFFICIENTNET_LITE0, efficientnet_lite0.CHECKPOINT_MEMBER
        )
    )


@pytest.fixture(scope="module")
def model(weights: Weights) -> onnx.ModelProto:
    return efficientnet_lite0.build(weights)


@pytest.fixture(scope="module")
def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString())


def test_operators_are_those_of_the_paper(model: onnx.ModelProto) -> None:
    assert Counter(node.op_type for node in model.graph.node) == {
        "Conv": 49,
        "BatchNormalization": 49,
        "Clip": 33,
        "Add": 9,
        "GlobalAveragePool": 1,
        "Flatten": 1,
        "Gemm": 1,
    }


def test_weights_are_all_there(model: onnx.ModelProto) -> None:
    elements = sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer)
    # 4,652,008 parameters as published, without the batch-norms' statistics and
    # the two limits of ReLU6.
    statistics = sum(
        int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if ".running_" in tensor.name
    )
    assert elements - statistics - 2 == 4_652_008


def test_padding_is_that_of_tensorflow(model: onnx.ModelProto) -> None:
    pads = {
        node.name: list(attribute.ints)
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "pads"
    }
    assert pads["_conv_stem"] == [0, 0, 1, 1]
    assert pads["_blocks.0._depthwise_conv"] == [1, 1, 1, 1]
    assert pads["_blocks.1._depthwise_conv"] == [0, 0, 1, 1]
    assert pads["_blocks.3._depthwise_conv"] == [1, 1, 2, 2]
    assert pads["_blocks.4._depthwise_conv"] == [2, 2, 2, 2]
    assert pads["_conv_head"] == [0, 0, 0, 0]


def test_transposed_kernels_are_written_in_order(
    model: onnx.ModelProto, weights: Weights
) -> None:
    stem = weights["_conv_stem.weight"]
    assert not stem.flags.c_contiguous, "the checkpoint no longer shows the trap"
    (written,) = (
        onnx.numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name == "_conv_stem.weight"
    )
    np.testing.assert_array_equal(written, stem)


def test_a_cat_is_a_cat(session: onnxruntime.InferenceSession) -> None:
    (logits,) = session.run(None, {"x": imagenet.photo_input("cat")})
    guesses = imagenet.top(logits)
    domestic_cats = range(281, 286)
    assert all(guess.class_index in domestic_cats for guess in guesses[:3])
    assert sum(guess.probability for guess in guesses[:3]) > 0.85


def test_a_cup_of_coffee_is_an_espresso(
    session: onnxruntime.InferenceSession,
) -> None:
    (logits,) = session.run(None, {"x": imagenet.photo_input("coffee")})
    best = imagenet.top(logits)[0]
    assert best.label == "espresso"
    assert best.probability > 0.9


def test_export_gives_the_same_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    assert efficientnet_lite0.main([str(out)]) == 0
    assert out.read_bytes() == efficientnet_lite0.path().read_bytes()


def test_usage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["a", "b"], ["--help"]):
        assert efficientnet_lite0.main(arguments) == 2
        assert "OUT.onnx" in capsys.readouterr().err


def test_failed_export_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    assert efficientnet_lite0.main([str(folder)]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert list(tmp_path.rglob("*")) == [folder]


def test_unreachable_package_is_an_error_and_a_hint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unreachable(package: object, member: str) -> bytes:
        raise EnvironmentMissingError("no network", hint="plug it in")

    monkeypatch.setattr(packages, "read_member", unreachable)
    assert efficientnet_lite0.main([str(tmp_path / "out.onnx")]) == 5
    assert capsys.readouterr().err == "error: no network\nplug it in\n"


def test_missing_weight_is_named(weights: Weights) -> None:
    fewer = {k: v for k, v in weights.items() if k != "_blocks.3._bn1.running_var"}
    with pytest.raises(FormatError, match=r"_blocks\.3\._bn1\.running_var is missing"):
        efficientnet_lite0.build(fewer)


def test_left_over_weight_is_named(weights: Weights) -> None:
    more = {**weights, "_blocks.3._se_reduce.weight": np.zeros(1, np.float32)}
    with pytest.raises(FormatError, match=r"_blocks\.3\._se_reduce\.weight"):
        efficientnet_lite0.build(more)


@pytest.mark.parametrize(
    "wrong", [np.zeros((1000, 1279), np.float32), np.zeros((1000, 1280), np.float64)]
)
def test_weight_of_another_shape_or_type_is_named(
    weights: Weights, wrong: npt.NDArray[np.float32]
) -> None:
    with pytest.raises(FormatError, match=r"expected float32\[1000, 1280\]"):
        efficientnet_lite0.build({**weights, "_fc.weight": wrong})
