# SPDX-License-Identifier: Apache-2.0
"""A plan as a table, for the terminal and for plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType

    from undercroft.plan import OperatorPlan, Plan

__all__ = ["rich_table", "size", "summary", "text"]

_COLUMNS: Final = (
    ("operator", False),
    ("kind", False),
    ("output", False),
    ("scheme", False),
    ("weights", True),
    ("resident", True),
    ("decrypted", True),
    ("activations", True),
    ("MACs", True),
    ("instructions", True),
)


_DROPPED_FIRST: Final = ("kind", "MACs", "resident", "output", "instructions")


def size(count: int) -> str:
    """Return bytes for people: `12.00 MiB`, `4.0 KiB`, `17 B`."""
    if count >= 1 << 20:
        return f"{count / (1 << 20):.2f} MiB"
    if count >= 1 << 10:
        return f"{count / (1 << 10):.1f} KiB"
    return f"{count} B"


def summary(plan: Plan) -> list[str]:
    """Return what matters about a plan in a few lines."""
    budget = "unlimited" if plan.budget_bytes is None else size(plan.budget_bytes)
    bound = plan.activations_lower_bound_bytes
    gap = (plan.activations_bytes - bound) / bound
    resident = sum(op.resident_bytes for op in plan.ops)
    schemes = ", ".join(f"{count} {name}" for name, count in plan.schemes.items())
    return [
        f"secure memory   {size(plan.arena_bytes)} of {budget}",
        f"activations     {size(plan.activations_bytes)} "
        f"({gap:.1%} above the lower bound)",
        f"weights         {size(plan.weights_bytes)}, {size(resident)} of them "
        f"kept decrypted; {schemes or 'none'}",
        f"each inference  {size(plan.decrypted_bytes)} decrypted in "
        f"{plan.streamed_pages} pages, about {plan.world_switches} world switches, "
        f"{sum(op.macs for op in plan.ops) / 1e6:.1f} M MACs, about "
        f"{plan.expected_instructions / 1e6:.1f} M instructions",
    ]


def text(plan: Plan) -> str:
    """Return a plan as plain text."""
    rows = [tuple(name for name, _ in _COLUMNS), *map(_row, plan.ops)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, (_, right) in zip(row, widths, _COLUMNS, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", *summary(plan)])


def rich_table(plan: Plan) -> RenderableType:
    """Return a plan as a table for a terminal of any width."""
    return _RichPlan(plan)


class _RichPlan:
    """Leaves out columns, the least important first, until the rest fits."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.table import Table
        from rich.text import Text

        rows = [_row(op) for op in self._plan.ops]
        shown = list(range(len(_COLUMNS)))
        for name in ("", *_DROPPED_FIRST):
            shown = [index for index in shown if _COLUMNS[index][0] != name]
            width = 1 + sum(
                3 + max(len(_COLUMNS[i][0]), *(len(row[i]) for row in rows))
                for i in shown
            )
            if width <= options.max_width:
                break
        table = Table(header_style="bold")
        for index in shown:
            name, right = _COLUMNS[index]
            table.add_column(
                name,
                justify="right" if right else "left",
                no_wrap=name != "operator",
                overflow="fold",
            )
        for row in rows:
            table.add_row(*(Text(row[index]) for index in shown))
        yield table
        yield Text("\n".join(summary(self._plan)))


def _row(op: OperatorPlan) -> tuple[str, ...]:
    return (
        op.name,
        op.kind,
        "x".join(map(str, op.output_shape)),
        op.scheme,
        size(op.weights_bytes) if op.weights_bytes else "",
        size(op.resident_bytes) if op.resident_bytes else "",
        size(op.decrypted_bytes) if op.decrypted_bytes else "",
        size(op.live_bytes),
        f"{op.macs / 1e6:.2f} M" if op.macs else "",
        f"{op.expected_instructions / 1e6:.2f} M",
    )
