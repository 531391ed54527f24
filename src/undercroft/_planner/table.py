# SPDX-License-Identifier: Apache-2.0
"""What is planned for each operator of the network, one row each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undercroft._planner import cost
from undercroft._planner.assemble import share
from undercroft._planner.groups import Segment
from undercroft._planner.network import Network
from undercroft._planner.order import dependencies
from undercroft._planner.rows import Tables
from undercroft._spec import Op, Scheme

if TYPE_CHECKING:
    from undercroft._planner import Planned

__all__ = ["Row", "rows"]


@dataclass(frozen=True, slots=True)
class Row:
    """One operator.

    Attributes:
        position: Its place in the order of execution.
        rows: How its result comes about: `whole`, `row-band`, `fused`,
            `branched` or `spill`.
        bands: In how many bands; 1 when whole.
        scheme: How its weights are partitioned: `none`, `layer`, `sub-layer`,
            `resident`, `held` or `repeated`.
        resident_bytes: Weights that stay decrypted.
        decrypted_bytes: Weights that are decrypted at each inference.
        live_bytes: Activations, and held weights, that live while it runs.
        instructions: Expected, computing, copying and decrypting.
    """

    position: int
    rows: str
    bands: int
    scheme: str
    resident_bytes: int
    decrypted_bytes: int
    live_bytes: int
    instructions: int


def rows(planned: Planned) -> list[Row]:
    """Return a row for each operator of the network, in order of execution."""
    net, made = planned.net, planned.assembled
    decrypt = cost.decrypt_instructions(planned.suite)
    parallel = _parallel(net)
    used = _weights_used(planned)
    result: list[Row] = []
    for index, segment in enumerate(made.segments):
        for position in range(segment.start, segment.stop):
            node = net.nodes[position]
            if node.added and node.operator.code is not Op.SPILL:
                continue
            resident, streamed = used[position]
            bands = segment.band_count(position)
            work = cost.compute_instructions(node, share(net, segment, position), bands)
            result.append(
                Row(
                    position=position,
                    rows=_how(segment, position, parallel),
                    bands=bands,
                    scheme=_scheme(planned, segment, position),
                    resident_bytes=resident,
                    decrypted_bytes=streamed,
                    live_bytes=made.layout.live_bytes[index],
                    instructions=round(work + streamed * decrypt),
                )
            )
    return result


def _weights_used(planned: Planned) -> list[tuple[int, int]]:
    """Return for each operator its resident bytes and those that are streamed."""
    made = planned.assembled
    resident: list[dict[int, int]] = [{} for _ in planned.net.nodes]
    streamed = [0] * len(planned.net.nodes)
    for step, record in zip(made.layout.steps.steps, made.program.ops, strict=True):
        kept = record.resident_panels * record.panel_bytes
        if kept:
            resident[step.node][step.weights] = kept
        streamed[step.node] += record.streamed_bytes
    return [
        (sum(kept.values()), count)
        for kept, count in zip(resident, streamed, strict=True)
    ]


def _how(segment: Segment, position: int, parallel: set[int]) -> str:
    if segment.bands is None or position not in segment.bands.nodes:
        return "branched" if position in parallel else "whole"
    return "row-band" if len(segment.bands.nodes) == 1 else "fused"


def _scheme(planned: Planned, segment: Segment, position: int) -> str:
    weights = planned.net.nodes[position].operator.weights
    if weights is None:
        return _name(Scheme.NONE)
    if isinstance(weights, Tables) and segment.band_count(position) > 1:
        return "repeated"
    residency = planned.assembled.residency
    resident, step = residency.resident[position], residency.steps[position]
    if resident == weights.panel_count:
        return _name(Scheme.RESIDENT)
    if position in segment.held:
        return _name(Scheme.HELD)
    if segment.repeats(position) > 1:
        return "repeated"
    whole = step == weights.panel_count - resident
    return _name(Scheme.LAYER if whole else Scheme.SUB_LAYER)


def _name(scheme: Scheme) -> str:
    return scheme.name.lower().replace("_", "-")


def _parallel(net: Network) -> set[int]:
    """Return operators beside which there are others that need not wait for them."""
    needs = dependencies(net)
    before: list[int] = []
    for position, direct in enumerate(needs):
        mask = 1 << position
        for other in direct:
            mask |= before[other]
        before.append(mask)
    after = [0] * len(needs)
    for position, mask in enumerate(before):
        for other in range(position + 1):
            if mask >> other & 1:
                after[other] |= 1 << position
    everything = (1 << len(needs)) - 1
    constants = sum(
        1 << i for i, node in enumerate(net.nodes) if node.operator.code is Op.CONSTANT
    )
    return {
        i for i in range(len(needs)) if (before[i] | after[i] | constants) != everything
    }
