# SPDX-License-Identifier: Apache-2.0
"""Plan a network for a budget of secure memory.

::

    import undercroft as uc

    plan = uc.plan("model.onnx", budget="12MiB", input_shapes={"x": (1, 3, 224, 224)})
    print(plan)                      # per operator: scheme, bytes, peak, cost
    plan.arena_bytes                 # what the device needs, at most the budget
    uc.seal("model.onnx", "model.sealed", plan=plan, signing_key=key)

A plan holds everything that the device will do: the sealer only cuts its
`program()`, `resident()` and `stream()` into pages and encrypts them. The same
model, budget and page size always give the same plan, to the byte.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from undercroft import _spec
from undercroft._format.suites import DEFAULT_SUITE, suite_number
from undercroft.errors import BudgetExceededError, PlanError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import onnx
    from rich.console import RenderableType

    from undercroft._import.graph import Graph
    from undercroft._planner import Planned
    from undercroft._planner.network import Node

__all__ = [
    "OperatorPlan",
    "Plan",
    "WeightsFormat",
    "parse_budget",
    "plan",
    "sweep",
]

WeightsFormat: TypeAlias = Literal["f32", "int8"]
"""How the weights of a sealed model are stored."""

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
}
_BUDGET: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)
_MAX_BUDGET_BYTES: Final = (1 << 32) - 1
_FORMAT_NAMES: Final = {_spec.WEIGHTS_F32: "f32", _spec.WEIGHTS_INT8: "int8"}
_MOST_SWEPT: Final = 14


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """What is planned for one operator.

    Attributes:
        name: The ONNX node it comes from.
        kind: The engine's operator, in lower case.
        rows: How its result comes about: `whole`; `row-band`, by itself some
            rows at a time; `fused`, some rows at a time together with its
            neighbours; `branched`, whole, one branch after the other; or
            `spill`.
        bands: In how many bands of rows; 1 when it runs whole.
        scheme: How its weights are partitioned: `none`, `layer`, `sub-layer`,
            `resident`, `held` (decrypted once for all bands) or `repeated`
            (decrypted again for every band).
        output_shape: What it computes: n, h, w, c.
        weights_format: How they are stored: `f32`, `int8`, or empty without.
        weights_bytes: Its weights as stored.
        resident_bytes: Those of them that stay decrypted.
        decrypted_bytes: Those that are decrypted at each inference.
        live_bytes: Activations, and held weights, that live while it runs.
        macs: Multiply-accumulates.
        expected_instructions: Computing and decrypting, on the device.
    """

    name: str
    kind: str
    rows: str
    bands: int
    scheme: str
    output_shape: tuple[int, int, int, int]
    weights_format: str
    weights_bytes: int
    resident_bytes: int
    decrypted_bytes: int
    live_bytes: int
    macs: int
    expected_instructions: int


@dataclass(frozen=True)
class Plan:
    """A network planned for a budget; made by `plan`.

    Attributes:
        budget_bytes: What was allowed; None for no limit.
        arena_bytes: Secure memory that the device needs.
        page_bytes: Plaintext bytes of a page.
        inputs: Names and shapes of the inputs, in ONNX order.
        outputs: Names and shapes of the outputs, in ONNX order.
        ops: Every operator, in the order of execution.
        suite: The cipher suite that costs were reckoned with.
    """

    budget_bytes: int | None
    arena_bytes: int
    page_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: tuple[OperatorPlan, ...]
    suite: str
    _planned: Planned = field(repr=False, compare=False)

    # ---- what the sealer consumes

    def program(self) -> bytes:
        """Return the program, before padding to whole pages."""
        from undercroft._format.program import encode

        return encode(self._planned.program)

    def resident(self) -> Iterator[memoryview]:
        """Yield the resident blob, `resident_bytes` long, in chunks of any size."""
        assembled = self._planned.assembled
        for weights, count in zip(
            assembled.layout.steps.sources, assembled.residency.resident, strict=True
        ):
            if weights is None or not count:
                continue
            yield from weights.panels(0, count)
            size = count * weights.panel_bytes
            padding = -size % _spec.ARENA_ALIGN_BYTES
            if padding:
                yield memoryview(bytes(padding))

    def stream(self) -> Iterator[memoryview]:
        """Yield the streamed weights, `stream_bytes` long, in chunks of any size."""
        assembled = self._planned.assembled
        steps = assembled.layout.steps.steps
        for step, record in zip(steps, assembled.program.ops, strict=True):
            weights = assembled.layout.steps.sources[step.weights]
            if record.streamed_panels and weights is not None:
                yield from weights.panels(record.resident_panels, record.panel_count)

    @property
    def program_bytes(self) -> int:
        """Length of the program."""
        return self._planned.program.program_bytes

    @property
    def program_pages(self) -> int:
        """Pages of the program."""
        return self._planned.program.program_pages

    @property
    def resident_pages(self) -> int:
        """Pages that are decrypted once, when the model is loaded."""
        return self._planned.program.resident_pages

    @property
    def streamed_pages(self) -> int:
        """Pages that are decrypted at each inference."""
        return self._planned.program.streamed_pages

    @property
    def resident_bytes(self) -> int:
        """Length of the resident blob."""
        return self._planned.program.resident_bytes

    @property
    def stream_bytes(self) -> int:
        """Length of the stream."""
        return self._planned.program.stream_bytes

    # ---- what people ask

    @property
    def weights_bytes(self) -> int:
        """Bytes of all weights as stored."""
        return sum(op.weights_bytes for op in self.ops)

    @property
    def peak_bytes(self) -> int:
        """The most secure memory in use at once; the arena is no larger."""
        return self.arena_bytes

    @property
    def activations_bytes(self) -> int:
        """Bytes of the arena that hold activations."""
        return self._planned.assembled.layout.placement.size

    @property
    def activations_lower_bound_bytes(self) -> int:
        """What no placement of the activations could go below."""
        return self._planned.assembled.layout.placement.lower_bound

    @property
    def decrypted_bytes(self) -> int:
        """Bytes decrypted at each inference: whole pages."""
        return self.streamed_pages * self.page_bytes

    @property
    def spilled_bytes(self) -> int:
        """Bytes of activations that leave encrypted and return: whole pages."""
        return self._planned.program.spill_pages * self.page_bytes

    @property
    def schemes(self) -> dict[str, int]:
        """How many operators use each scheme, for their rows and their weights."""
        counts = Counter(op.scheme for op in self.ops)
        counts.update(op.rows for op in self.ops)
        for name in ("none", "whole"):
            del counts[name]
        return dict(sorted(counts.items()))

    @property
    def world_switches(self) -> int:
        """Expected calls into the secure world at each inference."""
        from undercroft._planner import cost

        return cost.switches(
            self._planned.net, self.decrypted_bytes, self.spilled_bytes
        )

    @property
    def expected_instructions(self) -> int:
        """Expected instructions of an inference, once the model is loaded."""
        return round(self._planned.assembled.cost)

    @property
    def expected_overhead(self) -> float:
        """The same, against whole operators with all weights resident."""
        return self._planned.assembled.cost / self._planned.least_cost

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the weights, for JSON."""
        return {
            "budget_bytes": self.budget_bytes,
            "arena_bytes": self.arena_bytes,
            "page_bytes": self.page_bytes,
            "suite": self.suite,
            "program_pages": self.program_pages,
            "resident_pages": self.resident_pages,
            "streamed_pages": self.streamed_pages,
            "weights_bytes": self.weights_bytes,
            "resident_bytes": self.resident_bytes,
            "stream_bytes": self.stream_bytes,
            "decrypted_bytes": self.decrypted_bytes,
            "spilled_bytes": self.spilled_bytes,
            "window_bytes": self._planned.program.window_bytes,
            "scratch_bytes": self._planned.program.scratch_bytes,
            "activations_bytes": self.activations_bytes,
            "activations_lower_bound_bytes": self.activations_lower_bound_bytes,
            "world_switches": self.world_switches,
            "expected_instructions": self.expected_instructions,
            "expected_overhead": self.expected_overhead,
            "macs": sum(op.macs for op in self.ops),
            "schemes": self.schemes,
            "inputs": [asdict(info) for info in self.inputs],
            "outputs": [asdict(info) for info in self.outputs],
            "ops": [asdict(op) for op in self.ops],
        }

    def __str__(self) -> str:
        from undercroft._planner import report

        return report.text(self)

    def __rich__(self) -> RenderableType:
        from undercroft._planner import report

        return report.rich_table(self)


def plan(
    model: str | os.PathLike[str] | onnx.ModelProto,
    budget: int | str | None = "12MiB",
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    page_bytes: int | None = None,
    suite: str = DEFAULT_SUITE,
    weights: WeightsFormat = "f32",
) -> Plan:
    """Plan a network for a budget of secure memory.

    Args:
        model: An ONNX file, or a model in memory.
        budget: Bytes, or text such as "12MiB"; "unlimited" or None keeps all
            weights decrypted, whatever it takes.
        input_shapes: Static shapes, in ONNX order, of the inputs that have
            dynamic ones: `{"x": (1, 3, 224, 224)}`.
        page_bytes: Plaintext bytes of a page: a multiple of 4096. Without, the
            planner chooses: 65536, or less for a small budget.
        suite: The cipher suite that the file will be sealed with; it decides
            what decryption costs: "aes-256-gcm", "aegis-128l" or
            "chacha20-poly1305".
        weights: "f32" as in the model, or "int8": the weights of convolutions
            and fully connected layers in 8 bits with a scale per output
            channel, about a quarter of the size. Activations, biases and all
            arithmetic stay f32.

    Raises:
        BudgetExceededError: It does not fit; says what is needed and where.
        UnsupportedModelError: Operators, types or shapes that are not
            supported, every one named.
        NotAModelError: Not ONNX, damaged or not valid.
        ModelError: `input_shapes` does not go with the model.
        PlanError: Budget, page size, suite or weights make no sense.
    """
    from undercroft._planner import planned

    budget_bytes = parse_budget(budget)
    check_options(page_bytes, suite)
    graph = _imported(model, input_shapes, weights)
    result = planned(graph, budget_bytes, page_bytes, suite_number(suite))
    return plan_of(result, budget_bytes, suite)


def _imported(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None,
    weights: WeightsFormat,
) -> Graph:
    from undercroft._import import import_model
    from undercroft._import.graph import with_int8_weights

    if weights not in get_args(WeightsFormat):
        raise PlanError(
            f"weights cannot be stored as {weights!r}", hint="choose f32 or int8"
        )
    graph = import_model(model, input_shapes)
    return with_int8_weights(graph) if weights == "int8" else graph


def check_options(page_bytes: int | None, suite: str) -> None:
    """Check what is no part of the budget.

    Raises:
        PlanError: The page size is not possible, or there is no such suite.
    """
    suite_number(suite)
    smallest, largest = _spec.MIN_PAGE_BYTES, _spec.MAX_PAGE_BYTES
    if page_bytes is not None and (
        not smallest <= page_bytes <= largest or page_bytes % smallest
    ):
        raise PlanError(
            f"pages of {page_bytes} bytes are not possible",
            hint=f"use a multiple of {smallest}, from {smallest} to {largest}",
        )


def sweep(
    model: str | os.PathLike[str] | onnx.ModelProto,
    budgets: Sequence[int | str | None] | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    page_bytes: int | None = None,
    suite: str = DEFAULT_SUITE,
    weights: WeightsFormat = "f32",
) -> tuple[Plan, ...]:
    """Plan a network for several budgets: what more secure memory buys.

    Args:
        model: An ONNX file, or a model in memory.
        budgets: As for `plan`; without, from 2 MiB, or the least that works, to
            the whole model.
        input_shapes: As for `plan`.
        page_bytes: As for `plan`.
        suite: As for `plan`.
        weights: As for `plan`.

    Returns:
        A plan for each budget that is possible, by ascending budget.

    Raises:
        UnsupportedModelError: As for `plan`.
        NotAModelError: As for `plan`.
        ModelError: As for `plan`.
        PlanError: As for `plan`.
    """
    from undercroft._planner import planned

    check_options(page_bytes, suite)
    graph = _imported(model, input_shapes, weights)
    number = suite_number(suite)

    def made(budget: int | None) -> Plan:
        return plan_of(planned(graph, budget, page_bytes, number), budget, suite)

    whole = made(None)
    wanted = (
        _budgets(whole.arena_bytes)
        if budgets is None
        else [parse_budget(budget) for budget in budgets]
    )
    plans: dict[int, Plan] = {}
    for budget in wanted:
        if budget is None:
            plans[_MAX_BUDGET_BYTES + 1] = whole
            continue
        try:
            plans[budget] = made(budget)
        except BudgetExceededError as error:
            least = error.needed_bytes
            if least < whole.arena_bytes and least not in plans and budgets is None:
                plans[least] = made(least)
    return tuple(plans[budget] for budget in sorted(plans))


def _budgets(whole: int) -> list[int | None]:
    """Return budgets from 2 MiB to the whole model, each about 1.4 times the last."""
    found: list[int | None] = []
    budget = 2 << 20
    while budget < whole:
        found.append(budget)
        found.append(budget * 3 // 2)
        budget *= 2
    limited = [b for b in found if b is not None and b < whole]
    return [*limited[:_MOST_SWEPT], None]


def plan_of(result: Planned, budget_bytes: int | None, suite: str) -> Plan:
    """Return what the planner found as what people look at."""
    from undercroft._planner import cost, table

    nodes = result.net.nodes
    ops = tuple(
        OperatorPlan(
            name=nodes[row.position].operator.name,
            kind=nodes[row.position].operator.code.name.lower(),
            rows=row.rows,
            bands=row.bands,
            scheme=row.scheme,
            output_shape=nodes[row.position].writes.dims,
            weights_format=_format_name(nodes[row.position]),
            weights_bytes=nodes[row.position].weights_bytes,
            resident_bytes=row.resident_bytes,
            decrypted_bytes=row.decrypted_bytes,
            live_bytes=row.live_bytes,
            macs=cost.macs(nodes[row.position]),
            expected_instructions=row.instructions,
        )
        for row in table.rows(result)
    )
    return Plan(
        budget_bytes=budget_bytes,
        arena_bytes=result.program.arena_bytes,
        page_bytes=result.program.page_bytes,
        inputs=result.graph.input_infos,
        outputs=result.graph.output_infos,
        ops=ops,
        suite=suite,
        _planned=result,
    )


def _format_name(node: Node) -> str:
    weights = node.operator.weights
    return "" if weights is None else _FORMAT_NAMES[weights.format]


def parse_budget(budget: int | str | None) -> int | None:
    """Return a budget in bytes.

    Args:
        budget: Bytes, text such as "12MiB", "7 MiB" or "512KiB", "unlimited",
            or None.

    Returns:
        None for no limit.

    Raises:
        PlanError: It is no positive amount of memory.
    """
    if budget is None or (
        isinstance(budget, str) and budget.strip().lower() == "unlimited"
    ):
        return None
    size: float = 0
    if isinstance(budget, str):
        match = _BUDGET.fullmatch(budget)
        if match and match[2].lower() in _UNITS:
            size = float(match[1]) * _UNITS[match[2].lower()]
    elif not isinstance(budget, bool):
        size = budget
    if not 1 <= size <= _MAX_BUDGET_BYTES or size != int(size):
        raise PlanError(
            f"{budget!r} is not a budget of secure memory",
            hint="write a positive number of bytes below 4 GiB, or for example "
            "12MiB, 512KiB or unlimited",
        )
    return int(size)
