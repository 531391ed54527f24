# SPDX-License-Identifier: Apache-2.0
"""The figure of the benchmarks, drawn from the results recorded here.

`benchmarks/table.py` writes it beside its tables. The same results give the same
bytes, so that a stale figure shows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from undercroft._bench.report import Row

MIB = 1 << 20
SUITES = {"aes-256-gcm": "#b5532b", "aegis-128l": "#2b6cb5"}
CURVE = "efficientnet-lite0"
BUDGET = 12 * MIB
"""What the bars are of."""


def svg(rows: Sequence[Row]) -> str:
    """Draw an inference's cost by budget, and by network.

    Args:
        rows: recorded rows, of any network and budget.

    Returns:
        An SVG document.
    """
    settings = {
        "svg.hashsalt": "undercroft",
        "svg.fonttype": "none",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(9.2, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
        _curve(left, [row for row in rows if row.model == CURVE])
        _bars(right, rows)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _curve(axes: Axes, rows: Sequence[Row]) -> None:
    """One network: instructions of an inference against secure memory."""
    for suite, color in SUITES.items():
        points = sorted(
            (row.budget_bytes / MIB, row.secure_steady_instructions / 1e6)
            for row in rows
            if row.suite == suite and row.weights == "f32"
        )
        axes.plot(*zip(*points, strict=True), "o-", color=color, label=suite)
    most = 0.0
    for name, style, count in (
        ("onnxruntime, in plain", "--", rows[0].onnxruntime_instructions),
        ("this engine, in plain", ":", rows[0].plain_instructions),
    ):
        axes.axhline(count / 1e6, color="black", linestyle=style, linewidth=1)
        axes.annotate(name, (12, count / 1e6), (0, -11), ha="right", **_POINTS)
        most = max(most, count / 1e6)
    ticks = sorted({row.budget_bytes // MIB for row in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_ylim(0, 1.08 * most)
    axes.set_xlabel("secure memory, MiB")
    axes.set_ylabel("million instructions an inference")
    axes.set_title(f"{CURVE}, {rows[0].weights_bytes / MIB:.1f} MiB of weights")
    axes.legend(loc="center right", frameon=False)


_POINTS = {"textcoords": "offset points", "fontsize": 8}


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    """Every network under one budget, against onnxruntime on the plain one."""
    chosen = sorted(
        (
            row
            for row in rows
            if row.budget_bytes == BUDGET
            and row.suite == "aegis-128l"
            and row.weights == "f32"
        ),
        key=lambda row: row.secure_steady_instructions / row.onnxruntime_instructions,
        reverse=True,
    )
    names = [row.model for row in chosen]
    begun = [0.0] * len(chosen)
    for name, color in (
        ("computing", "#7a8793"),
        ("decrypting", "#2b6cb5"),
        ("moving", "#e0a458"),
        ("switching", "#c9d3dc"),
    ):
        widths = [
            getattr(row, f"{name}_instructions") / row.onnxruntime_instructions
            for row in chosen
        ]
        axes.barh(names, widths, left=begun, color=color, label=name)
        begun = [start + width for start, width in zip(begun, widths, strict=True)]
    axes.axvline(1, color="black", linestyle="--", linewidth=1)
    axes.set_xlabel("instructions, onnxruntime in plain = 1")
    axes.set_title("in 12 MiB of secure memory, AEGIS-128L")
    axes.legend(loc="center right", frameon=False)
