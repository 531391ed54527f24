# SPDX-License-Identifier: Apache-2.0
"""`bench` as a person calls it; the board is another test's matter."""

from __future__ import annotations

import dataclasses
import json

import onnx
import pytest
from click.testing import CliRunner

from helpers.onnx_nets import case
from undercroft._bench import run as bench_run
from undercroft._bench.report import Failure, Report, Row
from undercroft._cli.bench import command


@pytest.fixture
def measured(monkeypatch):
    """Replace the measurement; return what it was asked for."""
    asked: list[tuple[list[str], list[int]]] = []

    def measure(subjects, budgets, *, weights, suites, again, progress, on_row):
        assert weights == "f32"
        assert suites == ("aes-256-gcm",)
        progress("measuring")
        asked.append(([subject.name for subject in subjects], list(budgets)))
        counts = {
            field.name: 1000
            for field in dataclasses.fields(Row)
            if field.name
            not in {"model", "budget_bytes", "max_rel_error", "weights", "suite"}
        }
        rows = [
            Row(model=subject.name, budget_bytes=budget, max_rel_error=1e-7, **counts)
            for subject in subjects
            for budget in budgets
        ]
        report = Report(environment={"qemu": "7.2"}, rows=tuple(rows))
        if again:
            lost = Failure("small", 1 << 20, "BudgetExceeded", "it does not fit")
            report = dataclasses.replace(report, failures=(lost,))
        on_row(report, (rows + list(report.failures))[-1])
        return report

    monkeypatch.setattr(bench_run, "measure", measure)
    return asked


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.onnx"
    onnx.save(case("lenet").model, str(path))
    return path


def test_json_has_environment_and_rows(measured, model):
    words = ["--model", str(model), "--budget", "1MiB", "--budget", "2MiB", "--json"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["environment"] == {"qemu": "7.2"}
    assert [row["budget_bytes"] for row in document["rows"]] == [1 << 20, 2 << 20]
    assert document["rows"][0]["secure_to_plain"] == 1.0
    assert measured == [(["small"], [1 << 20, 2 << 20])]


def test_the_table_is_for_people(measured, model):
    result = CliRunner().invoke(command, ["--model", str(model), "--budget", "1MiB"])
    assert result.exit_code == 0, result.output
    assert "small in 1 MiB" in result.stdout
    assert "world switches" in result.stdout


def test_the_result_is_recorded(measured, model, tmp_path):
    path = tmp_path / "result.json"
    words = ["--model", str(model), "--budget", "1MiB", "-o", str(path)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert Report.load(path).rows[0].model == "small"


def test_a_budget_without_limit_is_a_usage_error(measured, model):
    words = ["--model", str(model), "--budget", "unlimited"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 2
    assert not measured


def test_help_has_an_example():
    result = CliRunner().invoke(command, ["--help"])
    assert result.exit_code == 0
    assert "undercroft bench --budget 12MiB" in result.stdout


def test_what_could_not_be_measured_is_an_error_and_recorded(measured, model, tmp_path):
    path = tmp_path / "result.json"
    words = ["--model", str(model), "--budget", "1MiB", "--again", "-o", str(path)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 1
    assert "small in 1 MiB: not measured: it does not fit" in result.stderr
    assert Report.load(path).failures[0].error == "BudgetExceeded"


@pytest.mark.engine
def test_on_the_host_it_times_both(model, tmp_path):
    path = tmp_path / "host.json"
    words = ["--device", "host:", "--model", str(model), "-o", str(path)]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("small: engine ")
    document = json.loads(path.read_text())
    (row,) = document["rows"]
    assert row["engine_seconds"] >= row["engine_least_seconds"] > 0
    assert row["onnxruntime_seconds"] >= row["onnxruntime_least_seconds"] > 0
    assert row["max_rel_error"] <= 1e-4
    assert "host_cpu" in document["environment"]


def test_on_the_host_an_unsupported_model_is_an_error(tmp_path):
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])
    node = onnx.helper.make_node("Sin", ["x"], ["y"])
    path = tmp_path / "wave.onnx"
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y])), path
    )
    words = ["--device", "host:", "--model", str(path), "--json"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code != 0
