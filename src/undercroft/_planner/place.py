# SPDX-License-Identifier: Apache-2.0
"""Where each buffer lies: packing of intervals in time into one stretch of bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from undercroft._planner.schedule import Buffer

__all__ = ["Placement", "place"]

# How much work the search for a better order may be: comparisons of buffers.
_SEARCH_COMPARISONS: Final = 3_000_000
_MOST_TRIES: Final = 400


@dataclass(frozen=True, slots=True)
class Placement:
    """Offsets of the buffers, the bytes they span, and what no packing beats.

    Attributes:
        offsets: One for each buffer.
        size: End of the last buffer.
        lower_bound: The most bytes that live at once.
    """

    offsets: tuple[int, ...]
    size: int
    lower_bound: int


def place(buffers: Sequence[Buffer], lower_bound: int) -> Placement:
    """Pack the buffers so that those which live at once do not overlap.

    Greedy best fit over several orders of the buffers; when none of them meets
    the lower bound, a search over swapped orders, with a fixed seed.

    Args:
        buffers: What to place.
        lower_bound: The most bytes that live at once.
    """
    indices = range(len(buffers))
    conflicts = [
        [
            other
            for other in indices
            if other != index and buffers[index].lifetime.meets(buffers[other].lifetime)
        ]
        for index in indices
    ]

    def length(index: int) -> int:
        return buffers[index].lifetime.last - buffers[index].lifetime.first + 1

    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-buffers[i].size, buffers[i].lifetime.first, i),
        lambda i: (-buffers[i].size * length(i), i),
        lambda i: (-sum(buffers[o].size for o in conflicts[i]) - buffers[i].size, i),
        lambda i: (-length(i), -buffers[i].size, i),
        lambda i: (buffers[i].lifetime.first, -buffers[i].size, i),
        lambda i: (-buffers[i].lifetime.last, -buffers[i].size, i),
    )
    best_order = list(indices)
    best = _packed(buffers, conflicts, best_order)
    for key in keys:
        if best[0] == lower_bound:
            break
        order = sorted(indices, key=key)
        found = _packed(buffers, conflicts, order)
        if found[0] < best[0]:
            best, best_order = found, order
    if best[0] > lower_bound:
        best = _searched(buffers, conflicts, best_order, best, lower_bound)
    return Placement(tuple(best[1]), best[0], lower_bound)


def _packed(
    buffers: Sequence[Buffer], conflicts: list[list[int]], order: list[int]
) -> tuple[int, list[int]]:
    offsets = [-1] * len(buffers)
    end = 0
    for index in order:
        size = buffers[index].size
        taken = sorted(
            (offsets[other], offsets[other] + buffers[other].size)
            for other in conflicts[index]
            if offsets[other] >= 0
        )
        best_gap: int | None = None
        best_offset = 0
        top = 0
        for start, stop in taken:
            gap = start - top
            if gap >= size and (best_gap is None or gap < best_gap):
                best_gap, best_offset = gap, top
            top = max(top, stop)
        offsets[index] = top if best_gap is None else best_offset
        end = max(end, offsets[index] + size)
    return end, offsets


def _searched(
    buffers: Sequence[Buffer],
    conflicts: list[list[int]],
    order: list[int],
    best: tuple[int, list[int]],
    lower_bound: int,
) -> tuple[int, list[int]]:
    count = len(order)
    work = count + sum(map(len, conflicts))
    tries = min(_MOST_TRIES, _SEARCH_COMPARISONS // work)
    # Not a secret: the same model must always give the same plan.
    chance = random.Random(0)  # noqa: S311
    for _ in range(tries if count > 1 else 0):
        changed = order.copy()
        for _ in range(chance.randint(1, 3)):
            moved = changed.pop(chance.randrange(count))
            changed.insert(chance.randrange(count), moved)
        found = _packed(buffers, conflicts, changed)
        if found[0] <= best[0]:
            best, order = found, changed
        if best[0] == lower_bound:
            break
    return best
