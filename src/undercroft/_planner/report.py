# SPDX-License-Identifier: Apache-2.0
"""A plan as a table, for the terminal and for plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType

    from undercroft.plan import OperatorPlan, Plan

__all__ = [
    "COLUMNS",
    "curve_text",
    "rich_table",
    "row",
    "scheme",
    "size",
    "summary",
    "text",
]

COLUMNS: Final = (
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
    spilled = plan.spilled_bytes
    lines = [
        f"secure memory   {size(plan.arena_bytes)} of {budget}",
        f"activations     {size(plan.activations_bytes)} "
        f"({gap:.1%} above the lower bound)",
        f"weights         {size(plan.weights_bytes)}, {size(resident)} of them "
        f"kept decrypted",
        f"schemes         {schemes or 'none'}",
        f"each inference  {size(plan.decrypted_bytes)} decrypted in "
        f"{plan.streamed_pages} pages of {size(plan.page_bytes)}, about "
        f"{plan.world_switches} world switches, "
        f"{sum(op.macs for op in plan.ops) / 1e6:.1f} M MACs, about "
        f"{plan.expected_instructions / 1e6:.1f} M instructions "
        f"({plan.expected_overhead:.2f} x with all weights resident)",
    ]
    if spilled:
        lines.append(
            f"spilled         {size(spilled)} of activations leave encrypted and return"
        )
    return lines


def scheme(op: OperatorPlan) -> str:
    """Return how an operator runs: `fused x19, held`, `sub-layer`."""
    parts = []
    if op.rows != "whole":
        parts.append(op.rows + (f" x{op.bands}" if op.bands > 1 else ""))
    if op.scheme != "none" or not parts:
        parts.append(op.scheme)
    return ", ".join(parts)


def text(plan: Plan) -> str:
    """Return a plan as plain text."""
    rows = [tuple(name for name, _ in COLUMNS), *map(row, plan.ops)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for line in rows:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, (_, right) in zip(line, widths, COLUMNS, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", *summary(plan)])


def curve_text(plans: Sequence[Plan]) -> str:
    """Return the curve of cost against budget as plain text."""
    head = ("budget", "arena", "activations", "resident", "decrypted", "instructions")
    rows = [(*head, "overhead", "schemes")]
    for plan in plans:
        schemes = ", ".join(f"{count} {name}" for name, count in plan.schemes.items())
        budget = plan.budget_bytes
        rows.append(
            (
                "unlimited" if budget is None else size(budget),
                size(plan.arena_bytes),
                size(plan.activations_bytes),
                size(plan.resident_bytes),
                size(plan.decrypted_bytes),
                f"{plan.expected_instructions / 1e6:.1f} M",
                f"{plan.expected_overhead:.3f} x",
                schemes,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == len(head) + 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


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

        rows = [row(op) for op in self._plan.ops]
        shown = list(range(len(COLUMNS)))
        for name in ("", *_DROPPED_FIRST):
            shown = [index for index in shown if COLUMNS[index][0] != name]
            width = 1 + sum(
                3 + max(len(COLUMNS[i][0]), *(len(line[i]) for line in rows))
                for i in shown
            )
            if width <= options.max_width:
                break
        table = Table(header_style="bold")
        for index in shown:
            name, right = COLUMNS[index]
            table.add_column(
                name,
                justify="right" if right else "left",
                no_wrap=name != "operator",
                overflow="fold",
            )
        for line in rows:
            table.add_row(*(Text(line[index]) for index in shown))
        yield table
        yield Text("\n".join(summary(self._plan)))


def row(op: OperatorPlan) -> tuple[str, ...]:
    """Return an operator as a row of the table."""
    return (
        op.name,
        op.kind,
        "x".join(map(str, op.output_shape)),
        scheme(op),
        size(op.weights_bytes) if op.weights_bytes else "",
        size(op.resident_bytes) if op.resident_bytes else "",
        size(op.decrypted_bytes) if op.decrypted_bytes else "",
        size(op.live_bytes),
        f"{op.macs / 1e6:.2f} M" if op.macs else "",
        f"{op.expected_instructions / 1e6:.2f} M",
    )
