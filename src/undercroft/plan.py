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
from undercroft._spec import Scheme
from undercroft.errors import PlanError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import onnx
    from rich.console import RenderableType

    from undercroft._planner import Planned

__all__ = ["OperatorPlan", "Plan", "WeightsFormat", "parse_budget", "plan"]

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
_FORMAT_NAMES: Final = {_spec.WEIGHTS_F32: "f32", _spec.WEIGHTS_INT8: "int8"}
_MAX_BUDGET_BYTES: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class OperatorPlan:
    """What is planned for one operator.

    Attributes:
        name: The ONNX node it comes from.
        kind: The engine's operator, in lower case.
        scheme: How its weights are partitioned: `none`, `layer`, `sub-layer`
            or `resident`.
        output_shape: What it computes: n, h, w, c.
        weights_format: How they are stored: `f32`, `int8`, or empty without.
        weights_bytes: Its weights as stored.
        resident_bytes: Those of them that stay decrypted.
        decrypted_bytes: Those that are decrypted at each inference.
        live_bytes: Activations that live while it runs.
        macs: Multiply-accumulates.
        expected_instructions: Computing and decrypting, on the device.
    """

    name: str
    kind: str
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
        graph, program = self._planned.graph, self._planned.program
        at = 0
        for operator, record in zip(graph.operators, program.ops, strict=True):
            if operator.weights is None or not record.resident_panels:
                continue
            if record.resident_offset > at:
                yield memoryview(bytes(record.resident_offset - at))
            yield from operator.weights.panels(0, record.resident_panels)
            at = record.resident_offset + record.resident_panels * record.panel_bytes
        if program.resident_bytes > at:
            yield memoryview(bytes(program.resident_bytes - at))

    def stream(self) -> Iterator[memoryview]:
        """Yield the streamed weights, `stream_bytes` long, in chunks of any size."""
        graph, program = self._planned.graph, self._planned.program
        for operator, record in zip(graph.operators, program.ops, strict=True):
            if operator.weights is not None and record.streamed_panels:
                yield from operator.weights.panels(
                    record.resident_panels, record.panel_count
                )

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
        return self._planned.placement.size

    @property
    def activations_lower_bound_bytes(self) -> int:
        """What no placement of the activations could go below."""
        return self._planned.placement.lower_bound

    @property
    def decrypted_bytes(self) -> int:
        """Bytes decrypted at each inference: whole pages."""
        return self.streamed_pages * self.page_bytes

    @property
    def schemes(self) -> dict[str, int]:
        """How many operators with weights use each scheme."""
        counts = Counter(op.scheme for op in self.ops)
        del counts[scheme_name(Scheme.NONE)]
        return dict(sorted(counts.items()))

    @property
    def world_switches(self) -> int:
        """Expected calls into the secure world at each inference."""
        from undercroft._planner import cost

        return cost.switches(self._planned.graph, self.decrypted_bytes)

    @property
    def expected_instructions(self) -> int:
        """Expected instructions of an inference, once the model is loaded."""
        from undercroft._planner import cost

        tensors = self._planned.graph.tensors
        moved = self.decrypted_bytes + sum(
            tensors[i].size_bytes
            for i in (*self._planned.graph.inputs, *self._planned.graph.outputs)
        )
        return (
            sum(op.expected_instructions for op in self.ops)
            + self.world_switches * cost.SWITCH_INSTRUCTIONS
            + round(moved * cost.MOVE_INSTRUCTIONS_PER_BYTE)
        )

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
            "window_bytes": self._planned.program.window_bytes,
            "scratch_bytes": self._planned.program.scratch_bytes,
            "activations_bytes": self.activations_bytes,
            "activations_lower_bound_bytes": self.activations_lower_bound_bytes,
            "world_switches": self.world_switches,
            "expected_instructions": self.expected_instructions,
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
    page_bytes: int = _spec.DEFAULT_PAGE_BYTES,
    weights: WeightsFormat = "f32",
    suite: str = DEFAULT_SUITE,
) -> Plan:
    """Plan a network for a budget of secure memory.

    Args:
        model: An ONNX file, or a model in memory.
        budget: Bytes, or text such as "12MiB"; "unlimited" or None keeps all
            weights decrypted, whatever it takes.
        input_shapes: Static shapes, in ONNX order, of the inputs that have
            dynamic ones: `{"x": (1, 3, 224, 224)}`.
        page_bytes: Plaintext bytes of a page: a multiple of 4096.
        weights: "f32" as in the model, or "int8": the weights of convolutions
            and fully connected layers in 8 bits with a scale per output
            channel, about a quarter of the size. Activations, biases and all
            arithmetic stay f32.
        suite: The cipher suite that the file will be sealed with; it decides
            what decryption costs: "aes-256-gcm", "aegis-128l" or
            "chacha20-poly1305".

    Raises:
        BudgetExceededError: It does not fit; says what is needed and where.
        UnsupportedModelError: Operators, types or shapes that are not
            supported, every one named.
        NotAModelError: Not ONNX, damaged or not valid.
        ModelError: `input_shapes` does not go with the model.
        PlanError: Budget, page size, weights or suite make no sense.
    """
    from undercroft._import import import_model
    from undercroft._import.graph import with_int8_weights
    from undercroft._planner import cost, planned

    budget_bytes = parse_budget(budget)
    decrypt = cost.DECRYPT_INSTRUCTIONS_PER_BYTE[suite_number(suite)]
    smallest, largest = _spec.MIN_PAGE_BYTES, _spec.MAX_PAGE_BYTES
    if not smallest <= page_bytes <= largest or page_bytes % smallest:
        raise PlanError(
            f"pages of {page_bytes} bytes are not possible",
            hint=f"use a multiple of {smallest}, from {smallest} to {largest}",
        )
    if weights not in get_args(WeightsFormat):
        raise PlanError(
            f"weights cannot be stored as {weights!r}", hint="choose f32 or int8"
        )
    graph = import_model(model, input_shapes)
    if weights == "int8":
        graph = with_int8_weights(graph)
    result = planned(graph, budget_bytes, page_bytes)
    graph, program = result.graph, result.program
    ops = tuple(
        OperatorPlan(
            name=operator.name,
            kind=operator.code.name.lower(),
            scheme=scheme_name(record.scheme),
            output_shape=graph.tensors[operator.output].dims,
            weights_format=_FORMAT_NAMES[record.weights_format]
            if record.panel_count
            else "",
            weights_bytes=record.weights_bytes,
            resident_bytes=record.resident_panels * record.panel_bytes,
            decrypted_bytes=record.streamed_bytes,
            live_bytes=live,
            macs=cost.macs(graph, operator),
            expected_instructions=cost.compute_instructions(graph, operator)
            + round(record.streamed_bytes * decrypt),
        )
        for operator, record, live in zip(
            graph.operators, program.ops, result.live_bytes, strict=True
        )
    )
    return Plan(
        budget_bytes=budget_bytes,
        arena_bytes=program.arena_bytes,
        page_bytes=page_bytes,
        inputs=graph.input_infos,
        outputs=graph.output_infos,
        ops=ops,
        suite=suite,
        _planned=result,
    )


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


def scheme_name(scheme: Scheme) -> str:
    """Return a scheme's name in the literature: `sub-layer`."""
    return scheme.name.lower().replace("_", "-")
