# SPDX-License-Identifier: Apache-2.0
"""The public planner: budgets, what a plan says, and what it hands out."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from helpers.onnx_nets import Case, Net, all_cases, case
from undercroft import _models
from undercroft._format.program import decode, encode
from undercroft.errors import BudgetExceededError, PlanError, UnsupportedModelError
from undercroft.plan import Plan, parse_budget, plan, sweep

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12MiB", 12 * MIB),
        ("7 MiB", 7 * MIB),
        (" 7mib ", 7 * MIB),
        ("512KiB", 512 * 1024),
        ("1.5MiB", 3 * MIB // 2),
        ("1GiB", 1024 * MIB),
        ("2MB", 2_000_000),
        ("4096", 4096),
        ("4096B", 4096),
        (4096, 4096),
        ("unlimited", None),
        ("Unlimited", None),
        (None, None),
    ],
)
def test_budgets(text: int | str | None, size: int | None) -> None:
    assert parse_budget(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "MiB", "12 MiBs", "-1", "0", "0MiB", "1.0000001", "5GiB", "1e6", -5, True, 0],
)
def test_budgets_that_make_no_sense(text: int | str) -> None:
    with pytest.raises(PlanError, match="not a budget") as error:
        parse_budget(text)
    assert "12MiB" in error.value.hint


@pytest.mark.parametrize("page_bytes", [0, 2048, 4097, 2 * MIB, -4096])
def test_pages_that_make_no_sense(page_bytes: int) -> None:
    with pytest.raises(PlanError, match="pages of"):
        plan(case("conv_relu").model, page_bytes=page_bytes)


def network() -> Case:
    return case("mobile_network")


def digest(made: Plan) -> tuple[bytes, bytes, bytes]:
    return made.program(), b"".join(made.resident()), b"".join(made.stream())


def test_the_same_model_gives_the_same_plan() -> None:
    for budget in ("150KiB", None):
        made = [plan(network().model, budget, page_bytes=4096) for _ in range(2)]
        assert digest(made[0]) == digest(made[1])
        assert made[0] == made[1]
        assert str(made[0]) == str(made[1])


def test_it_can_be_read_more_than_once() -> None:
    made = plan(network().model, "150KiB", page_bytes=4096)
    assert digest(made) == digest(made)


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_arena_and_lengths(page_bytes: int, share: float) -> None:
    model = network().model
    with pytest.raises(BudgetExceededError) as error:
        plan(model, 1, page_bytes=page_bytes)
    least = error.value.needed_bytes
    most = plan(model, None, page_bytes=page_bytes).arena_bytes
    budget = round(least + share * (max(most, least) - least))
    made = plan(model, budget, page_bytes=page_bytes)
    assert made.arena_bytes <= budget
    assert made.budget_bytes == budget
    program, resident, stream = digest(made)
    decoded = decode(program)
    assert encode(decoded) == program
    assert len(program) == made.program_bytes
    assert len(resident) == made.resident_bytes
    assert len(stream) == made.stream_bytes
    assert made.program_pages == -(-len(program) // page_bytes)
    assert made.resident_pages == -(-len(resident) // page_bytes)
    assert made.streamed_pages == -(-len(stream) // page_bytes)
    assert decoded.arena_bytes == made.arena_bytes
    streamed = sum(op.decrypted_bytes for op in made.ops)
    assert made.stream_bytes == streamed
    for op in made.ops:
        repeats = op.bands if op.scheme == "repeated" else 1
        assert op.decrypted_bytes <= repeats * (op.weights_bytes - op.resident_bytes)
    with pytest.raises(BudgetExceededError):
        plan(model, least - 64, page_bytes=page_bytes)


def test_without_a_limit_everything_is_resident() -> None:
    made = plan(network().model, "unlimited")
    assert made.budget_bytes is None
    assert made.streamed_pages == 0
    assert set(made.schemes) <= {"resident", "branched"}
    assert made.decrypted_bytes == 0


def test_schemes_are_counted() -> None:
    made = plan(network().model, "150KiB", page_bytes=4096)
    weights = {"layer", "sub-layer", "resident", "held", "repeated"}
    of_weights = sum(made.schemes.get(name, 0) for name in weights)
    assert of_weights == sum(op.weights_bytes > 0 for op in made.ops)
    assert set(made.schemes) - weights <= {"row-band", "fused", "branched", "spill"}


def test_what_does_not_fit_says_needed_allowed_and_where() -> None:
    net = Net("peak")
    # What a transposition reads and writes is there whole.
    x = net.conv(net.input(1, 3, 40, 40), 3, 64, 1)
    x = net.op("Transpose", [x], perm=[0, 1, 3, 2])
    x = net.conv(x, 64, 4, 1)
    with pytest.raises(BudgetExceededError) as error:
        plan(net.case(x).model, "64KiB")
    assert error.value.exit_code == 4
    assert error.value.allowed_bytes == 65536
    assert error.value.needed_bytes > 2 * 4 * 64 * 1600
    assert "TRANSPOSE" in error.value.where
    assert "1x40x40x64 (409600 bytes)" in error.value.where
    least = error.value.needed_bytes
    assert plan(net.case(x).model, least).arena_bytes <= least
    assert str(error.value.needed_bytes) in error.value.hint


def test_a_network_with_too_many_operators() -> None:
    net = Net("long")
    x = net.input(1, 4)
    for _ in range(300):
        x = net.op("HardSwish", [x])
    assert len(plan(net.case(x).model).ops) == 300
    model = net.case(*[net.op("HardSwish", [x]) for _ in range(17)]).model
    with pytest.raises(UnsupportedModelError, match="17 outputs"):
        plan(model)


def test_what_people_read() -> None:
    made = plan(network().model, "150KiB", page_bytes=4096)
    text = str(made)
    assert len(text.splitlines()) == len(made.ops) + 8
    for op in made.ops:
        assert op.name in text
    assert "150.0 KiB" in text
    assert json.loads(json.dumps(made.to_dict()))["schemes"] == made.schemes


def test_what_programs_read() -> None:
    made = plan(network().model, "150KiB", page_bytes=4096)
    told = made.to_dict()
    assert told["arena_bytes"] == made.arena_bytes == made.peak_bytes
    assert told["ops"][0]["kind"] == "conv_2d"
    assert told["inputs"][0]["shape"] == (1, 3, 33, 35)
    assert told["expected_instructions"] > sum(op.macs for op in made.ops) / 4
    # More decryption costs more.
    assert made.expected_instructions > plan(network().model).expected_instructions


def test_live_bytes_lie_between_the_tensors_and_the_arena() -> None:
    for small in all_cases():
        made = plan(small.model, None, input_shapes=small.input_shapes)
        for op in made.ops:
            assert 4 * int(np.prod(op.output_shape)) <= op.live_bytes
            assert op.live_bytes <= made.activations_bytes
        assert made.activations_bytes >= made.activations_lower_bound_bytes


@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("efficientnet-lite0", "12MiB"),
        ("efficientnet-lite0", "7MiB"),
        ("efficientnet-lite0", "2MiB"),
        ("ppocr-cls", "12MiB"),
        ("ppocr-cls", "7MiB"),
        ("ppocr-cls", "500KiB"),
    ],
)
def test_real_networks_fit(name: str, budget: str) -> None:
    shapes = dict(_models.info(name).input_shapes)
    made = plan(_models.get(name), budget, input_shapes=shapes)
    assert made.budget_bytes is not None
    assert made.arena_bytes <= made.budget_bytes
    assert made.activations_bytes == made.activations_lower_bound_bytes
    if made.stream_bytes:
        # Nearly all of the budget is used.
        assert made.budget_bytes - made.arena_bytes < 3 * made.page_bytes


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(plan(network().model, "150KiB", page_bytes=4096))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert any("scheme" in line for line in lines)
    assert any("sub-layer" in line for line in lines)
    assert ("MACs" in lines[1]) == (width >= 200)


def test_a_sweep_goes_from_the_least_to_the_whole() -> None:
    points = sweep(network().model, ["1KiB", "120KiB", "150KiB", None], page_bytes=4096)
    assert [point.budget_bytes for point in points] == [120 * 1024, 150 * 1024, None]
    overheads = [point.expected_overhead for point in points]
    assert overheads == sorted(overheads, reverse=True)
    assert overheads[-1] == pytest.approx(1.0)
    assert points[0] == plan(network().model, "120KiB", page_bytes=4096)


def test_the_suite_decides_what_decryption_costs() -> None:
    made = {
        suite: plan(network().model, "120KiB", page_bytes=4096, suite=suite)
        for suite in ("aegis-128l", "chacha20-poly1305")
    }
    costs = [made[suite].expected_overhead for suite in made]
    assert costs[0] < costs[1]
    with pytest.raises(PlanError, match="no cipher suite"):
        plan(network().model, suite="rot13")
