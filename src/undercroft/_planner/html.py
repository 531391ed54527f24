# SPDX-License-Identifier: Apache-2.0
"""A plan as a page with pictures: one file, nothing is fetched.

Memory over time with every buffer, what each operator does, and the curve of
cost against budget with the plan that was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Final

from undercroft import _spec
from undercroft._planner.report import COLUMNS, row, size, summary

if TYPE_CHECKING:
    from undercroft.plan import Plan

__all__ = ["page"]

_WIDTH: Final = 1120
_HEIGHT: Final = 420
_LEFT: Final = 80
_BOTTOM: Final = 36
_COLORS: Final = {
    "whole": "#4c78a8",
    "band": "#72b7b2",
    "kept": "#eeca3b",
    "held": "#f58518",
    "context": "#9d9d9d",
    "program": "#b6b6b6",
    "resident": "#54a24b",
    "window": "#e45756",
    "scratch": "#d6a5c9",
}
_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1160px;
  padding: 0 1em; color: #1b1b1b; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto }
table { border-collapse: collapse; font-size: .87em }
th, td { padding: .2em .7em; border-bottom: 1px solid #ddd; text-align: left;
  white-space: nowrap }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em }
.scroll { overflow-x: auto }
"""


def page(plan: Plan, sweep: Sequence[Plan], title: str) -> str:
    """Return the page.

    Args:
        plan: The plan that was chosen.
        sweep: Plans for several budgets, for the curve; may be empty.
        title: The model's name.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}: plan</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<pre>{escape(chr(10).join(summary(plan)))}</pre>",
        "<h2>Memory over time</h2>",
        "<p>Each box is a buffer: its bytes in the arena upwards, the operators "
        "during which it lives to the right. Point at one to see its name.</p>",
        _memory(plan),
        _key(),
    ]
    if sweep:
        parts += [
            "<h2>Cost against budget</h2>",
            "<p>Expected instructions of an inference, as a multiple of those with "
            "whole operators and all weights resident.</p>",
            _curve(plan, sweep),
        ]
    parts += ["<h2>Operators</h2>", _table(plan), "</body></html>"]
    return "\n".join(parts) + "\n"


def _memory(plan: Plan) -> str:
    made = plan._planned.assembled
    program, layout = made.program, made.layout
    count = len(program.ops)
    inner, height = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 10
    shapes: list[str] = []

    def box(
        first: float, last: float, low: int, high: int, kind: str, name: str
    ) -> None:
        x = _LEFT + inner * first / count
        y = 10 + height * (1 - high / program.arena_bytes)
        shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" '
            f'width="{max(0.6, inner * (last - first) / count):.1f}" '
            f'height="{max(0.4, height * (high - low) / program.arena_bytes):.1f}" '
            f'fill="{_COLORS[kind]}" stroke="#fff" stroke-width="0.3">'
            f"<title>{escape(name)}: {size(high - low)}</title></rect>"
        )

    page_bytes = program.page_bytes
    context = _spec.ENGINE_CONTEXT_BYTES
    regions = (
        ("context", 0, context),
        ("program", context, program.program_pages * page_bytes),
        ("resident", program.resident_offset, program.resident_pages * page_bytes),
        ("window", program.window_offset, program.window_bytes),
        ("scratch", program.scratch_offset, program.scratch_bytes),
    )
    for kind, offset, length in regions:
        if length:
            box(0, count, offset, offset + length, kind, kind)
    roots = plan._planned.net.roots
    for index, place in enumerate(layout.steps.places):
        tensor = program.tensors[layout.number[layout.root_box(index)]]
        first = 0 if tensor.first_op == _spec.NO_OP else tensor.first_op
        kind = place.slot[0]
        name = "held weights" if place.root < 0 else roots[place.root].name
        box(
            first,
            min(count, tensor.last_op + 1),
            tensor.offset,
            tensor.offset + tensor.size_bytes,
            kind,
            name if kind in ("whole", "held") else f"{name}, {kind} rows",
        )
    return _svg(
        shapes,
        _axis(program.arena_bytes, height),
        f"operators in the order of execution: {count} records",
    )


def _axis(top: int, height: int) -> list[str]:
    step = 1 << 20 if top > 2 << 20 else 1 << 17
    while top / step > 10:
        step *= 2
    lines: list[str] = []
    for value in range(0, top + 1, step):
        y = 10 + height * (1 - value / top)
        lines.append(
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{size(value)}'
            f'</text><line x1="{_LEFT - 4}" x2="{_LEFT}" y1="{y:.1f}" y2="{y:.1f}" '
            'stroke="#333"/>'
        )
    return lines


def _svg(shapes: Sequence[str], axis: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        + "".join(shapes)
        + "".join(axis)
        + f'<text x="{(_WIDTH + _LEFT) / 2:.0f}" y="{_HEIGHT - 8}" '
        f'text-anchor="middle">{escape(label)}</text></svg>'
    )


def _key() -> str:
    names = {
        "whole": "whole tensors",
        "band": "bands of rows",
        "kept": "rows kept for the next band",
        "held": "held weights",
        "resident": "resident weights",
        "window": "window",
        "program": "program",
        "scratch": "scratch",
    }
    items = "".join(
        f'<span style="background:{_COLORS[kind]}"></span>{escape(name)}'
        for kind, name in names.items()
    )
    return f'<p class="key">{items}</p>'


def _curve(plan: Plan, sweep: Sequence[Plan]) -> str:
    inner, height = _WIDTH - _LEFT - 40, _HEIGHT - _BOTTOM - 30
    points = sorted({(p.arena_bytes, p.expected_overhead) for p in (*sweep, plan)})
    low = math.log2(points[0][0]) - 0.1
    high = math.log2(points[-1][0]) + 0.1
    top = max(overhead for _, overhead in points)
    top = 1 + 1.15 * max(0.02, top - 1)

    def x(value: int) -> float:
        return _LEFT + inner * (math.log2(value) - low) / (high - low)

    def y(value: float) -> float:
        return 20 + height * (top - value) / (top - 1)

    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    shapes = [
        f'<polyline points="{line}" fill="none" stroke="#4c78a8" stroke-width="2"/>'
    ]
    for arena, overhead in points:
        shapes.append(
            f'<circle cx="{x(arena):.1f}" cy="{y(overhead):.1f}" r="4" fill="#4c78a8">'
            f"<title>{size(arena)}: {overhead:.3f} x</title></circle>"
        )
    chosen = (plan.arena_bytes, plan.expected_overhead)
    shapes.append(
        f'<circle cx="{x(chosen[0]):.1f}" cy="{y(chosen[1]):.1f}" r="8" fill="none" '
        f'stroke="#e45756" stroke-width="3"><title>this plan</title></circle>'
        f'<text x="{x(chosen[0]) + 12:.1f}" y="{y(chosen[1]) - 10:.1f}" '
        f'fill="#c0392b">{size(chosen[0])}: {chosen[1]:.2f} x</text>'
    )
    axis: list[str] = []
    for step in range(5):
        value = 1 + (top - 1) * step / 4
        axis.append(
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">'
            f"{value:.2f} x</text>"
            f'<line x1="{_LEFT}" x2="{_LEFT + inner}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}" stroke="#ddd"/>'
        )
    for power in range(math.ceil(low), math.floor(high) + 1):
        axis.append(
            f'<text x="{x(1 << power):.1f}" y="{_HEIGHT - 26}" text-anchor="middle">'
            f"{size(1 << power)}</text>"
        )
    return _svg([*axis, *shapes], [], "secure memory")


def _table(plan: Plan) -> str:
    head = "".join(
        f"<th{' class=n' if right else ''}>{escape(name)}</th>"
        for name, right in COLUMNS
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if right else ''}>{escape(cell)}</td>"
            for cell, (_, right) in zip(row(op), COLUMNS, strict=True)
        )
        + "</tr>"
        for op in plan.ops
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
