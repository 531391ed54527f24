# SPDX-License-Identifier: Apache-2.0
"""`undercroft plan` as people and programs call it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from helpers.onnx_nets import Net, case


def undercroft(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "undercroft", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(case("dynamic_sizes").model, path)
    return str(path)


def test_table(model: str) -> None:
    result = undercroft("plan", model, "--input-shape", "x=1,3,12,20")
    assert result.returncode == 0, result.stderr
    assert "conv_2d" in result.stdout
    assert "of 12.00 MiB" in result.stdout


def test_json(model: str) -> None:
    shape = ("--input-shape", "x=1,3,12,20")
    result = undercroft("plan", model, "--budget", "256KiB", *shape, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["budget_bytes"] == 262144
    assert told["arena_bytes"] <= 262144
    assert told["model"] == model


def test_unlimited(model: str) -> None:
    shape = ("--input-shape", "x=1,3,12,20")
    result = undercroft("plan", model, "--budget", "unlimited", *shape, "--json")
    assert json.loads(result.stdout)["budget_bytes"] is None


def test_dynamic_shapes_need_the_flag(model: str) -> None:
    result = undercroft("plan", model)
    assert result.returncode == 3
    assert "--input-shape x=1,3,1,1" in result.stderr


def test_exit_codes(model: str, tmp_path: Path) -> None:
    shape = ("--input-shape", "x=1,3,12,20")
    too_small = undercroft("plan", model, *shape, "--budget", "4KiB")
    assert too_small.returncode == 4
    assert "needs" in too_small.stderr
    assert undercroft("plan", model, "--input-shape", "x=banana").returncode == 2
    assert undercroft("plan", model, *shape, "--budget", "much").returncode == 1
    assert undercroft("plan", str(tmp_path / "none.onnx")).returncode == 1
    net = Net("unsupported")
    path = tmp_path / "unsupported.onnx"
    onnx.save(net.case(net.op("Sin", [net.input(1, 3)])).model, path)
    unsupported = undercroft("plan", str(path))
    assert unsupported.returncode == 3
    assert "operator Sin (node 'Sin_v0')" in unsupported.stderr
    assert "Traceback" not in unsupported.stderr


def test_weights_in_8_bits(tmp_path: Path) -> None:
    net = Net("wide")
    path = tmp_path / "wide.onnx"
    onnx.save(net.case(net.conv(net.input(1, 64, 9, 9), 64, 128)).model, path)
    sizes = {}
    for weights in ("f32", "int8"):
        result = undercroft("plan", str(path), "--weights", weights, "--json")
        assert result.returncode == 0, result.stderr
        told = json.loads(result.stdout)
        sizes[weights] = told["weights_bytes"]
        assert told["ops"][0]["weights_format"] == weights
    assert 3.9 < sizes["f32"] / sizes["int8"] < 4
    assert undercroft("plan", str(path), "--weights", "int4").returncode == 2


def test_sweep(model: str) -> None:
    shape = ("--input-shape", "x=1,3,12,20")
    result = undercroft("plan", model, *shape, "--sweep")
    assert result.returncode == 0, result.stderr
    assert "unlimited" in result.stdout
    result = undercroft("plan", model, *shape, "--sweep", "--json")
    points = json.loads(result.stdout)["plans"]
    assert points[-1]["budget_bytes"] is None
    assert points[-1]["expected_overhead"] == pytest.approx(1.0)


def test_pictures(model: str, tmp_path: Path) -> None:
    shape = ("--input-shape", "x=1,3,12,20")
    page = tmp_path / "plan.html"
    result = undercroft("plan", model, *shape, "--html", str(page))
    assert result.returncode == 0, result.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2
    # Nothing is fetched.
    assert "http" not in text
    assert "src=" not in text
