# SPDX-License-Identifier: Apache-2.0
"""The goals of the benchmarks, and what is recorded against each.

`benchmarks/table.py` writes them into docs/benchmarks.md; the tests hold what is met.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from undercroft._bench.report import Row
from undercroft._format.suites import SUITES
from undercroft._planner.cost import DECRYPT_INSTRUCTIONS_PER_BYTE

MIB = 1 << 20
CONVOLUTIONAL = (
    "efficientnet-lite0",
    "mobilenet-v1",
    "mobilenet-v2",
    "resnet-50",
    "densenet-121",
    "nudenet",
)
"""Networks that the goals name; nudenet is a YOLOv8n."""


@dataclass(frozen=True, slots=True)
class Found:
    """One recorded figure, by model."""

    model: str
    value: float


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted and what is recorded.

    Attributes:
        name: what is compared.
        most: the goal.
        found: what is recorded.
        missing: models of which nothing is recorded yet.
    """

    name: str
    most: float
    found: tuple[Found, ...]
    missing: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Found, ...]:
        """The figures above the goal."""
        return tuple(found for found in self.found if found.value > self.most)


def goals(rows: Sequence[Row]) -> list[Goal]:
    """Return every goal with what the recorded rows say of it."""
    large, small, seven = 12 * MIB, 4 * MIB, 7 * MIB
    return [
        _to_plain("12 MiB, AEGIS-128L", 1.15, rows, CONVOLUTIONAL, large),
        _to_plain("4 MiB, AEGIS-128L", 1.35, rows, CONVOLUTIONAL, small),
        _to_plain("VGG-16 at 7 MiB, AEGIS-128L", 1.25, rows, ("vgg-16",), seven),
        _to_plain(
            "12 MiB, AES-256-GCM", 1.3, rows, CONVOLUTIONAL, large, "aes-256-gcm"
        ),
        _to_plain(
            "12 MiB, weights in 8 bits", 1.08, rows, CONVOLUTIONAL, large, None, "int8"
        ),
        _bound(rows),
        _halved(rows),
        _plain(rows),
    ]


def _to_plain(
    name: str,
    most: float,
    rows: Iterable[Row],
    models: Sequence[str],
    budget: int,
    suite: str | None = "aegis-128l",
    weights: str = "f32",
) -> Goal:
    chosen = {
        row.model: row.secure_to_plain
        for row in rows
        if row.model in models
        and row.budget_bytes == budget
        and row.suite == (suite or row.suite)
        and row.weights == weights
    }
    return _goal(f"secure / plain, {name}", most, models, chosen)


def bound_instructions(row: Row) -> float:
    """Return what decryption and computing alone take for an inference."""
    each = DECRYPT_INSTRUCTIONS_PER_BYTE[SUITES[row.suite].number]
    return each * row.decrypted_bytes + row.plain_instructions


def _bound(rows: Iterable[Row]) -> Goal:
    chosen = {
        row.model: row.secure_steady_instructions / bound_instructions(row)
        for row in rows
        if row.model == "alexnet" and row.budget_bytes == 12 * MIB
    }
    name = "AlexNet at 12 MiB: secure / (decrypting its bytes + plain)"
    return _goal(name, 1.1, ("alexnet",), chosen)


def _halved(rows: Iterable[Row]) -> Goal:
    models = ("efficientnet-lite0", "resnet-50")
    steady = {
        (row.model, row.budget_bytes // MIB): row.secure_steady_instructions
        for row in rows
        if row.suite == "aegis-128l" and row.weights == "f32"
    }
    chosen = {
        model: steady[model, 6] / steady[model, 12]
        for model in models
        if (model, 6) in steady and (model, 12) in steady
    }
    return _goal("6 MiB / 12 MiB, AEGIS-128L", 1.1, models, chosen)


def _plain(rows: Iterable[Row]) -> Goal:
    chosen = {row.model: row.plain_to_onnxruntime for row in rows}
    return _goal("plain / onnxruntime", 1.0, tuple(sorted(chosen)), chosen)


def _goal(
    name: str, most: float, models: Sequence[str], chosen: dict[str, float]
) -> Goal:
    return Goal(
        name,
        most,
        tuple(Found(model, chosen[model]) for model in models if model in chosen),
        tuple(model for model in models if model not in chosen),
    )


def markdown(found: Iterable[Goal]) -> str:
    """Return a table of goals; what is missed is in bold."""
    lines = ["| | goal | recorded |", "|---|---|---|"]
    for goal in found:
        cells = [
            f"{each.model} **{each.value:.2f}**"
            if each in goal.missed
            else f"{each.model} {each.value:.2f}"
            for each in goal.found
        ]
        if goal.missing:
            cells.append(f"not measured: {', '.join(goal.missing)}")
        lines.append(f"| {goal.name} | {goal.most:.2f} | {', '.join(cells)} |")
    return "\n".join(lines) + "\n"
