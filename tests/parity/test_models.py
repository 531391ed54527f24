# SPDX-License-Identifier: Apache-2.0
"""Known networks, sealed and run by the engine on the host, against onnxruntime.

A quick selection of what `benchmarks/expected.json` promises; with ``-m zoo`` the
rest of it. ``make test-models`` does all networks and budgets, on the board too.
"""

from __future__ import annotations

import warnings

import pytest

from helpers.recorded import program
from undercroft import _models
from undercroft.verify import verify

MODELS = program("models")
QUICK = {
    ("densenet-121", 7),
    ("efficientnet-lite0", 2),
    ("googlenet", 4),
    ("mobilenet-v2", 2),
    ("mobilenet-v3", 4),
    ("nudenet", 4),
    ("ppocr-cls", 2),
    ("ppocr-det", 4),
    ("ppocr-rec", 4),
    ("squeezenet-1.1", 2),
}
# The list may only grow: raise these with it.
LEAST_PROMISED = {"host": 51, "board": 44}


def row_id(row: tuple[str, int]) -> str:
    return f"{row[0]}-{row[1] >> 20}MiB"


ROWS = [
    pytest.param(
        *row,
        id=row_id(row),
        marks=[] if (row[0], row[1] >> 20) in QUICK else [pytest.mark.zoo],
    )
    for row in MODELS.expected("host")
]


@pytest.mark.engine
@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(("name", "budget"), ROWS)
def test_the_promised_answer_is_onnxruntimes(name: str, budget: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The host device protects nothing.
        result = verify(
            _models.get(name),
            budget=budget,
            device="host:",
            input_shapes=dict(_models.info(name).input_shapes),
        )
    assert result.passed, result.as_dict()
    planned = result.planned_bytes
    assert 0.95 * planned <= result.stats.secure_peak_bytes <= planned <= budget


@pytest.mark.parametrize("device", MODELS.DEVICES)
def test_promises_are_among_the_rows_and_do_not_shrink(device: str) -> None:
    promised = MODELS.expected(device)
    assert len(promised) == len(set(promised)) >= LEAST_PROMISED[device]
    for model, budget in promised:
        assert budget in MODELS.budgets(model)


@pytest.mark.parametrize("device", MODELS.DEVICES)
def test_the_record_keeps_the_promises(device: str) -> None:
    rows = MODELS.load(device)["rows"]
    passed = {(row["model"], row["budget_bytes"]) for row in rows if row["passed"]}
    if rows:
        assert passed >= set(MODELS.expected(device))


@pytest.mark.parametrize("device", MODELS.DEVICES)
def test_the_record_keeps_to_the_budgets_and_plans(device: str) -> None:
    for row in MODELS.load(device)["rows"]:
        if "secure_peak_bytes" in row:
            planned = row.get("planned_bytes", row["budget_bytes"])
            assert row["secure_peak_bytes"] <= planned <= row["budget_bytes"]
            if "planned_bytes" in row:
                assert row["secure_peak_bytes"] >= 0.95 * planned


def test_each_network_has_its_budgets() -> None:
    rows = [(name, size) for name in _models.names() for size in MODELS.budgets(name)]
    assert len(rows) == 15 * 3 + 6
    assert set(_models.names()) >= MODELS.IN_SMALLEST


def test_the_page_shows_the_record() -> None:
    assert MODELS.write_table(check=True) == 0
