# SPDX-License-Identifier: Apache-2.0
"""In which order operators run: the one with the least memory at once.

The order of the ONNX file and a greedy one are starts; where neither meets the
lower bound, a constraint solver looks for a better one, with a limit that counts
work and not time, so that the same network always gets the same order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from undercroft._format.ops import OPS
from undercroft._planner.lives import live_bytes
from undercroft._planner.network import Network, writers_of
from undercroft._spec import Op

__all__ = ["Ordered", "ordered"]

# Beyond so many operators the model of the solver grows too large for its limit.
_MOST_NODES: Final = 160
_DETERMINISTIC_SECONDS: Final = 1.5
_UNIT: Final = 1024
# A peak of whole operators may grow by this part for what bands can then save.
_LATE_SHARE: Final = 64


@dataclass(frozen=True, slots=True)
class Ordered:
    """A network in its order of execution.

    Attributes:
        net: The network.
        peak_bytes: The most that lives at once when all operators run whole.
        lower_bound_bytes: What no order of whole operators goes below.
    """

    net: Network
    peak_bytes: int
    lower_bound_bytes: int


def ordered(net: Network, *, solve: bool = True) -> Ordered:
    """Return the network in the order, of those tried, with the lowest peak.

    Args:
        net: The network, in any order of execution.
        solve: Whether to use the solver where the others leave a gap.
    """
    bound = _bound(net)
    best, best_peak = net, max(live_bytes(net))
    other = replace(net, nodes=tuple(net.nodes[i] for i in _greedy(net)))
    peak = max(live_bytes(other))
    if peak < best_peak:
        best, best_peak = other, peak
    if solve and best_peak > bound and _worth_solving(net):
        other, proven = _solved(best, best_peak)
        bound = max(bound, proven)
        peak = max(live_bytes(other))
        if peak < best_peak:
            best, best_peak = other, peak
    late = _late(best)
    peak = max(live_bytes(late))
    if peak <= best_peak + best_peak // _LATE_SHARE:
        best, best_peak = late, peak
    return Ordered(best, best_peak, min(bound, best_peak))


def _late(net: Network) -> Network:
    """Move operators that leave more alive than they free to their readers.

    Nothing then lives longer than before, and what is enlarged for a reader comes
    about beside it, where both may run in bands.
    """
    order = list(range(len(net.nodes)))
    writers = writers_of(net)
    for position in reversed(range(len(net.nodes))):
        node = net.nodes[position]
        at = order.index(position)
        written = node.writes.root
        readers = [
            index
            for index, other in enumerate(order)
            if index > at
            and any(
                box.root == written
                for box in (*net.nodes[other].reads, net.nodes[other].writes)
            )
        ]
        freed = sum(
            net.size(root)
            for root in {box.root for box in node.reads}
            if root not in net.outputs
            and not any(
                box.root == root
                for other in order[at + 1 :]
                for box in net.nodes[other].reads
            )
        )
        if (
            len(writers[written]) == 1
            and readers
            and readers[0] > at + 1
            and net.size(written) > freed
        ):
            order.insert(readers[0] - 1, order.pop(at))
    return replace(net, nodes=tuple(net.nodes[index] for index in order))


def _bound(net: Network) -> int:
    """Return the most that any one operator needs by itself."""
    most = 0
    for node in net.nodes:
        roots = {box.root for box in node.reads}
        code = node.operator.code
        if code not in OPS or not OPS[code].elementwise:
            # Others may overwrite an operand.
            roots.add(node.writes.root)
        most = max(most, sum(net.size(root) for root in roots))
    return most


def _worth_solving(net: Network) -> bool:
    if len(net.nodes) > _MOST_NODES:
        return False
    readers = Counter(box.root for node in net.nodes for box in node.reads)
    return any(count > 1 for count in readers.values()) or len(net.inputs) > 1


def dependencies(net: Network) -> list[set[int]]:
    """Return for each node those that must run before it."""
    writers: dict[int, list[int]] = {}
    for position, node in enumerate(net.nodes):
        writers.setdefault(node.writes.root, []).append(position)
    return [
        {
            writer
            for box in node.reads
            for writer in writers.get(box.root, ())
            if net.nodes[writer].writes.meets(box)
        }
        for node in net.nodes
    ]


def _greedy(net: Network) -> list[int]:
    """Always run what leaves the least alive; constants just before readers."""
    needs = dependencies(net)
    followers: list[list[int]] = [[] for _ in net.nodes]
    for position, before in enumerate(needs):
        for other in before:
            followers[other].append(position)
    constant = {
        i for i, node in enumerate(net.nodes) if node.operator.code is Op.CONSTANT
    }
    waiting = [len(before - constant) for before in needs]
    readers = Counter(
        root for node in net.nodes for root in {box.root for box in node.reads}
    )
    readers.update(net.outputs)
    written = set(net.inputs)
    ready = [i for i, count in enumerate(waiting) if not count and i not in constant]
    order: list[int] = []
    done: set[int] = set()

    def growth(index: int) -> tuple[int, int]:
        node = net.nodes[index]
        freed = sum(
            net.size(root)
            for root in {box.root for box in node.reads}
            if readers[root] == 1
        )
        out = node.writes.root
        return (0 if out in written else net.size(out)) - freed, index

    while ready:
        index = min(ready, key=growth)
        ready.remove(index)
        for other in sorted(needs[index] & constant - done):
            order.append(other)
            done.add(other)
        order.append(index)
        done.add(index)
        node = net.nodes[index]
        written.add(node.writes.root)
        for root in {box.root for box in node.reads}:
            readers[root] -= 1
        for follower in followers[index]:
            waiting[follower] -= 1
            if waiting[follower] == 0:
                ready.append(follower)
    # A constant that is an output of the network has no reader.
    return order + [i for i in sorted(constant) if i not in done]


def _solved(net: Network, peak: int) -> tuple[Network, int]:
    """Return the best order that the solver finds, and the bound it proves."""
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    count = len(net.nodes)
    at = [model.new_int_var(0, count - 1, f"at{i}") for i in range(count)]
    model.add_all_different(at)
    needs = dependencies(net)
    for position, before in enumerate(needs):
        for other in before:
            model.add(at[other] < at[position])
    intervals, sizes = [], []
    for root in range(len(net.roots)):
        writers = [i for i, node in enumerate(net.nodes) if node.writes.root == root]
        readers = [
            i
            for i, node in enumerate(net.nodes)
            if any(box.root == root for box in node.reads)
        ]
        start = model.new_int_var(0, count, "")
        stop = model.new_int_var(0, count, "")
        length = model.new_int_var(1, count, "")
        if root in net.inputs:
            model.add(start == 0)
        else:
            model.add_min_equality(start, [at[i] for i in writers])
        if root in net.outputs:
            model.add(stop == count)
        else:
            uses = [at[i] + 1 for i in (*writers, *readers)]
            model.add_max_equality(stop, uses)
        intervals.append(model.new_interval_var(start, length, stop, ""))
        sizes.append(-(-net.size(root) // _UNIT))
    limit = model.new_int_var(max(sizes), 2 * (peak // _UNIT) + 2, "limit")
    model.add_cumulative(intervals, sizes, limit)
    model.minimize(limit)
    for position in range(count):
        model.add_hint(at[position], position)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _DETERMINISTIC_SECONDS
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return net, 0
    order = sorted(range(count), key=lambda i: solver.value(at[i]))
    # Overwriting is not in the model, so its bound is none for us.
    return replace(net, nodes=tuple(net.nodes[i] for i in order)), 0
