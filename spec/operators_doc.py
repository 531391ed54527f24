# SPDX-License-Identifier: Apache-2.0
"""The text of `docs/operators.md`, from the operators' registrations."""

from __future__ import annotations

from collections.abc import Mapping

from undercroft import _spec
from undercroft._format.ops import OPS, OpType
from undercroft._import.ops import handlers, onnx_names
from undercroft._import.ops._registry import Handler, limits_of
from undercroft._import.quantised import DOMAIN

PATTERNS = """
Put together again where exporters spell them out, as long as nothing else
reads what is in between: SiLU (`x * Sigmoid(x)`), Gelu in both forms, Mish,
HardSwish and HardSigmoid from Clip, LayerNormalization from ReduceMean, Pow,
Sqrt and Div. Relu, Clip, Min and Max with a number go into the operator before
them; batch-norms are folded into convolutions; Transpose and Reshape move bytes
only where somebody needs them moved. What only computes shapes is folded once
the inputs' shapes are static.
"""
FLAGS = {
    _spec.OP_FLAG_SCALAR_OPERAND: "scalar operand",
    _spec.OP_FLAG_COUNT_INCLUDE_PAD: "count padding",
    _spec.OP_FLAG_REVERSED: "reversed",
    _spec.OP_FLAG_TRANSPOSED: "transposed",
}


def operators_text(notice: str) -> str:
    """Return the page."""
    known = handlers()
    lines = [
        "# Operators",
        "",
        f"<!-- {notice} -->",
        "",
        f"{len(onnx_names(known))} operators of ONNX can be imported, in float32, with",
        "static shapes. Everything else is refused, all of it named at once.",
        "**8-bit**: also between QuantizeLinear and DequantizeLinear, in integers.",
        "",
        "| ONNX | becomes | limits | 8-bit |",
        "|---|---|---|---|",
        *(_imported(name, known) for name in onnx_names(known)),
        PATTERNS,
        "## Operators of the engine",
        "",
        "What each means is in [the specification](../spec/sealed-model.md).",
        "**over its input**: the result may overwrite an operand that nobody reads",
        "again; **gaps**: views that it can read and write, in bands of rows and",
        "slices of channels; **functions**: how many it has.",
        "",
        "| operator | code | inputs | flags | functions | over its input "
        "| gaps, in and out |",
        "|---|---|---|---|---|---|---|",
        *(_engine(OPS[code]) for code in sorted(OPS)),
        "",
    ]
    return "\n".join(lines)


def _imported(name: str, known: Mapping[str, Handler]) -> str:
    what = (known[name].__doc__ or "").strip().splitlines()[0].rstrip(".")
    int8 = "yes" if f"{DOMAIN}.{name}" in known else ""
    return f"| {name} | {what} | {limits_of(name)} | {int8} |"


def _engine(op: OpType) -> str:
    flags = ", ".join(text for flag, text in FLAGS.items() if op.flags & flag)
    over = "yes" if op.elementwise else ""
    gaps = f"{op.input_views.name.lower()}, {op.output_views.name.lower()}"
    functions = len(op.functions) or ""
    return (
        f"| {op.code.name} | {op.code.value} | {op.inputs} | {flags} "
        f"| {functions} | {over} | {gaps} |"
    )
