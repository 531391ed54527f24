# SPDX-License-Identifier: Apache-2.0
"""The planner: everything that the device then only checks and obeys.

::

    network   what the import found, as operators on boxes of tensors
    order     the order of execution with the least memory at once
    runs      which operators could run in bands, and what that needs
    search    which of them do, for several limits on the activations
    groups    those segments exactly: rows, buffers, held weights
    steps     one step for each op record
    lower     the place of every tensor, and the program
    weights   which weights stay decrypted with the memory that is left

`planned` puts them together and takes the cheapest of what fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from undercroft import _spec
from undercroft._format import program_check
from undercroft._format.program import Program
from undercroft._import.graph import Graph
from undercroft._planner import assemble, cost
from undercroft._planner.assemble import Assembled
from undercroft._planner.averages import with_early_averages
from undercroft._planner.lives import lifetimes
from undercroft._planner.network import Network, dissolved, network
from undercroft._planner.order import Ordered, ordered
from undercroft._planner.runs import runs
from undercroft._planner.search import least_peak, schedules
from undercroft._planner.spill import spilled
from undercroft._planner.split import with_small_panels
from undercroft.errors import BudgetExceededError, UnsupportedModelError

__all__ = ["Planned", "planned"]

MOST_ARENA_BYTES = (1 << 32) - 1
_PAGES = (65536, 32768, 16384)
_SMALL_PAGES = (8192, 4096)
# Smaller pages are tried for budgets of at most so many default pages.
_SMALL_BUDGET_PAGES = 160
_TRIED = 4
# No panel of weights, which the window must hold, need take more than this part
# of the budget; smaller ones than this are not worth dividing.
_PANELS = 16
_LEAST_PANEL_BYTES = 65536
_MOST_SPILLS = 8
_LEAST_SPILL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Planned:
    """A network, its schedule, and the program that runs it.

    Attributes:
        graph: What was imported.
        ordered: The network in its order of execution.
        assembled: Segments, places, resident weights and the program.
        suite: The cipher suite that costs were reckoned with.
    """

    graph: Graph
    ordered: Ordered
    assembled: Assembled
    suite: int

    @property
    def net(self) -> Network:
        """The network in its order of execution."""
        return self.ordered.net

    @property
    def least_cost(self) -> float:
        """Expected instructions of whole operators with all weights resident."""
        return assemble.least_cost(self.net)

    @property
    def program(self) -> Program:
        """What the device executes."""
        return self.assembled.program


def planned(
    graph: Graph,
    budget_bytes: int | None,
    page_bytes: int | None,
    suite: int = _spec.SUITE_AES_256_GCM,
) -> Planned:
    """Plan a network for a budget of secure memory.

    Args:
        graph: The network.
        budget_bytes: The most secure memory that may be used; None for as much
            as keeps all weights decrypted.
        page_bytes: Plaintext bytes of a page; None to let the planner choose.
        suite: The cipher suite that the file will be sealed with.

    Raises:
        BudgetExceededError: It does not fit, whatever is done.
        UnsupportedModelError: It has more operators or tensors than a program
            can.
    """
    _check_limits(graph)
    if budget_bytes is None:
        result = prepared(graph)
        found = _unlimited(result.net, page_bytes or _PAGES[0], suite)
    else:
        result, found = _limited(graph, budget_bytes, page_bytes, suite)
    program_check.check(found.program)
    return Planned(graph, result, found, suite)


def prepared(
    graph: Graph, most_panel_bytes: int | None = None, *, early_averages: bool = False
) -> Ordered:
    """Return the network of a graph in its order of execution.

    Args:
        graph: What was imported.
        most_panel_bytes: Operators with larger panels of weights are divided.
        early_averages: Whether averages are taken before pointwise convolutions.
    """
    net = network(graph)
    if early_averages:
        net = with_early_averages(net)
    if most_panel_bytes is not None:
        net = with_small_panels(net, most_panel_bytes)
    return ordered(dissolved(ordered(net, solve=False).net))


def _check_limits(graph: Graph) -> None:
    problems = []
    limits = (
        ("operators", len(graph.operators), _spec.MAX_OPS),
        ("tensors", len(graph.tensors), _spec.MAX_TENSORS),
        ("inputs", len(graph.inputs), _spec.MAX_IO),
        ("outputs", len(graph.outputs), _spec.MAX_IO),
    )
    for what, count, most in limits:
        if count > most:
            problems.append(f"{count} {what}; at most {most} are supported")
    if problems:
        raise UnsupportedModelError(problems)


def _limited(
    graph: Graph, budget: int, page_bytes: int | None, suite: int
) -> tuple[Ordered, Assembled]:
    """Return the cheapest schedule that fits, with spills if nothing else does."""
    variants = []
    for panel, early_averages in ((budget // _PANELS, False), (0, False), (0, True)):
        result = prepared(
            graph, max(_LEAST_PANEL_BYTES, panel), early_averages=early_averages
        )
        made = _cheapest(result.net, budget, page_bytes, suite)
        if made is not None:
            return result, made
        variants.append(result)
    # From here on nothing depends on the budget, so that the least which is
    # found for one budget is found for that budget as well. The first variant's
    # panels do.
    best: Assembled | None = None
    for variant in variants[1:]:
        for result, tight in _tighter(variant, page_bytes, suite):
            arena_bytes = tight.program.arena_bytes
            if arena_bytes <= budget:
                made = _cheapest(result.net, budget, page_bytes, suite)
                return result, tight if made is None else made
            if best is None or arena_bytes < best.program.arena_bytes:
                best = tight
    if best is None:
        raise _too_long(variants[-1].net)
    raise BudgetExceededError(
        needed_bytes=best.program.arena_bytes,
        allowed_bytes=budget,
        where=assemble.where(best.net, lifetimes(best.net), best),
    )


def _tighter(
    result: Ordered, page_bytes: int | None, suite: int
) -> Iterator[tuple[Ordered, Assembled]]:
    """Give the schedule of least memory, then such with spills while they need less."""
    tight: Assembled | None = None
    for _ in range(_MOST_SPILLS + 1):
        found = _tightest(result.net, page_bytes, suite)
        if found is None or (
            tight is not None and found.program.arena_bytes >= tight.program.arena_bytes
        ):
            return
        tight = found
        yield result, tight
        net = _with_spill(result.net, tight)
        if net is None:
            return
        result = replace(result, net=net)


def _with_spill(net: Network, made: Assembled) -> Network | None:
    """Return the network with one more tensor outside where memory is short."""
    lives = lifetimes(net)
    segment, _ = assemble.bottleneck(net, lives, made)
    idle = sorted(
        (
            root
            for root, life in enumerate(lives)
            if life.first < segment.start
            and life.last >= segment.stop
            and net.size(root) >= _LEAST_SPILL_BYTES
        ),
        key=lambda root: (-net.size(root), root),
    )
    for root in idle:
        found = spilled(net, root, segment.start, segment.stop)
        if found is not None:
            return found
    return None


def _cheapest(
    net: Network, budget: int, page_bytes: int | None, suite: int
) -> Assembled | None:
    lives = lifetimes(net)
    decrypt = cost.decrypt_instructions(suite)
    weights = sum(node.weights_bytes for node in net.nodes)
    found = runs(net, lives, 0, budget)
    best: Assembled | None = None
    for page in _page_sizes(budget, page_bytes):
        spare = budget - assemble.least_fixed_bytes(net, page)
        if spare < least_peak(found):
            continue
        plans = sorted(
            schedules(found, spare, weights, decrypt),
            key=lambda plan: (plan.cost, plan.limit_bytes),
        )
        fitting = 0
        for plan in plans:
            made = assemble.assembled(net, lives, plan, budget, page, suite)
            if made is None:
                continue
            fitting += 1
            if best is None or made.cost < best.cost:
                best = made
            if fitting == _TRIED:
                break
    return best


def _unlimited(net: Network, page_bytes: int, suite: int) -> Assembled:
    """Return the schedule of whole operators with all weights resident."""
    whole = assemble.whole_schedule(net)
    made = assemble.assembled(net, lifetimes(net), whole, None, page_bytes, suite)
    if made is None:
        raise _too_long(net)
    if made.program.arena_bytes > MOST_ARENA_BYTES:
        raise BudgetExceededError(
            needed_bytes=made.program.arena_bytes,
            allowed_bytes=MOST_ARENA_BYTES,
            where="all weights of the network, kept decrypted",
            hint="plan with a budget",
        )
    return made


def _page_sizes(budget: int, page_bytes: int | None) -> tuple[int, ...]:
    if page_bytes is not None:
        return (page_bytes,)
    if budget > _SMALL_BUDGET_PAGES * _PAGES[0]:
        return _PAGES[:1]
    return _PAGES


def _tightest(net: Network, page_bytes: int | None, suite: int) -> Assembled | None:
    """Return the schedule with the smallest arena."""
    lives = lifetimes(net)
    found = runs(net, lives, 0, 1 << 62)
    least = least_peak(found)
    limits = [least, *(least * (32 + i) // 32 for i in (1, 2, 4, 8))]
    pages = (page_bytes,) if page_bytes else (*_PAGES[1:], *_SMALL_PAGES)
    best: Assembled | None = None
    for page in pages:
        for plan in schedules(found, None, 0, 0.0, limits):
            made = assemble.assembled(net, lives, plan, 0, page, suite, tight=True)
            if made is not None and (
                best is None or made.program.arena_bytes < best.program.arena_bytes
            ):
                best = made
    return best


def _too_long(net: Network) -> UnsupportedModelError:
    return UnsupportedModelError(
        [
            f"{len(net.nodes)} operators need more than {_spec.MAX_PROGRAM_PAGES} "
            f"pages of program, or more than {_spec.MAX_OPS} records"
        ]
    )
