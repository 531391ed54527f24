# SPDX-License-Identifier: Apache-2.0
"""What is measured when: answers are kept, failures do not stop the others."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers.onnx_nets import case
from undercroft import _board
from undercroft._bench import run as bench_run
from undercroft._bench.guest import bytes_of
from undercroft._bench.run import measure
from undercroft._bench.subject import file_subject
from undercroft._bench.wall import engine_answer
from undercroft.errors import HarnessError
from undercroft.plan import plan

BUDGETS = [1 << 20, 2 << 20]


class FakeBoard:
    """Answers every task; counts them."""

    def __init__(self, tmp_path, output):
        self.tasks: list[str] = []
        self.fails: set[str] = set()
        self.output = output
        self.images_key = "images"
        self.name = "fake"
        self.root_image = tmp_path / "root-1" / "root.ext4"
        self.secure_log = tmp_path / "secure.log"

    def run(self, board, module, task, exchange, *, timeout_seconds):
        what = task.get("device", "onnxruntime").partition("?")[0]
        assert timeout_seconds > 600
        self.tasks.append(what)
        if what in self.fails:
            raise HarnessError("it died\nwith a long story")
        exchange._answers["outputs"] = bytes_of(self.output)
        stats = {
            "ticks": {"hz": 10**9, "decrypt": 10, "compute": 50, "move": 5},
            "secure_peak_bytes": 1000,
            "weights_bytes": 900,
            "decrypted_bytes": 0,
            "load_decrypted_bytes": 900,
            "moved_bytes": 10,
            "spilled_bytes": 0,
            "world_switches": 3,
        }
        return {
            "info": {},
            "versions": {"numpy": "2"},
            "load": 100,
            "first_inference": 200,
            "runs": [{"elapsed": 100, "stats": stats}] * 2,
            "profile": {"commands": {"RUN": 90}},
        }


@pytest.fixture
def subject(tmp_path):
    path = tmp_path / "lenet.onnx"
    onnx.save(case("lenet").model, path)
    return file_subject(path, {})


@pytest.fixture
def board(tmp_path, monkeypatch, subject):
    monkeypatch.setenv("UNDERCROFT_CACHE", str(tmp_path / "cache"))
    session = onnxruntime.InferenceSession(subject.path)
    output = session.run(None, dict(subject.inputs))[0].astype(np.float32)
    fake = FakeBoard(tmp_path, output.reshape(-1))
    monkeypatch.setattr(_board, "ensure_up", lambda *_a, **_k: fake)
    monkeypatch.setattr(_board, "down", lambda _name: None)
    monkeypatch.setattr(bench_run, "run_on_board", fake.run)
    monkeypatch.setattr(bench_run, "describe", lambda *_: {"qemu": "7"})
    return fake


def test_reference_and_plain_are_measured_once_a_model(board, subject):
    rows = []
    report = measure([subject], BUDGETS, on_row=lambda _report, row: rows.append(row))
    assert board.tasks == ["onnxruntime", "host:", "tee:", "tee:"]
    assert [row.budget_bytes for row in report.rows] == BUDGETS
    assert tuple(rows) == report.rows
    assert not report.failures


def test_what_was_answered_is_not_asked_again(board, subject):
    first = measure([subject], BUDGETS[:1])
    board.tasks.clear()
    measure([subject], BUDGETS)
    assert board.tasks == ["tee:"]
    board.tasks.clear()
    assert measure([subject], BUDGETS[:1]) == first
    assert not board.tasks
    measure([subject], BUDGETS[:1], again=True)
    assert board.tasks == ["onnxruntime", "host:", "tee:"]


def test_rounded_weights_answer_what_the_engine_here_does(board, subject, monkeypatch):
    right = engine_answer(subject, "int8")
    f32 = board.output
    error = np.abs(right - f32).max() / np.abs(f32).max()
    assert error > 1e-4
    tee = bench_run.run_on_board

    def answer(board_name, module, task, exchange, **more):
        board.output = right if task.get("device") == "tee:" else f32
        return tee(board_name, module, task, exchange, **more)

    monkeypatch.setattr(bench_run, "run_on_board", answer)
    row = measure([subject], BUDGETS[:1], weights="int8").rows[0]
    assert row.max_rel_error == pytest.approx(error)
    monkeypatch.setattr(bench_run, "run_on_board", tee)
    board.output = f32
    failed = measure([subject], BUDGETS[:1], weights="int8", again=True)
    assert "answers wrongly" in failed.failures[0].message


def test_other_programs_of_ours_are_measured_anew(board, subject):
    measure([subject], BUDGETS[:1])
    board.tasks.clear()
    board.images_key = "changed"
    measure([subject], BUDGETS[:1])
    assert board.tasks == ["host:", "tee:"]


def test_another_plan_for_the_same_budget_is_measured_anew(board, subject, monkeypatch):
    measure([subject], BUDGETS[:1])
    board.tasks.clear()
    made = bench_run.make_plan

    def other(subject, budget, *more):
        if budget is None:
            return made(subject, budget, *more)
        return plan(subject.path, budget=budget, page_bytes=4096)

    monkeypatch.setattr(bench_run, "make_plan", other)
    measure([subject], BUDGETS[:1])
    assert board.tasks == ["tee:"]


def test_failure_of_one_row_leaves_the_others(board, subject):
    report = measure([subject], [4096, *BUDGETS])
    assert [row.budget_bytes for row in report.rows] == BUDGETS
    (failure,) = report.failures
    assert (failure.model, failure.error) == ("lenet", "BudgetExceeded")


def test_failure_of_the_reference_fails_all_rows(board, subject):
    board.fails.add("onnxruntime")
    report = measure([subject], BUDGETS)
    assert not report.rows
    assert [failure.message for failure in report.failures] == ["it died"] * 2
    board.fails.clear()
    assert len(measure([subject], BUDGETS).rows) == 2


def test_wrong_answer_is_no_row(board, subject):
    measure([subject], BUDGETS[:1])
    board.output = board.output + 1
    board.images_key = "changed"
    report = measure([subject], BUDGETS[:1])
    assert "answers wrongly" in report.failures[0].message
