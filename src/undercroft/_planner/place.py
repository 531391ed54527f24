# SPDX-License-Identifier: Apache-2.0
"""Where each buffer lies: packing into one stretch of bytes.

Greedy best fit over several orders first; where that misses the lower bound, a
constraint solver with a limit that counts work and not time, so that the same
buffers always get the same places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from undercroft._planner.lives import Lifetime
from undercroft._spec import ARENA_ALIGN_BYTES

__all__ = ["Buffer", "Placement", "place", "place_masks"]

_MOST_SOLVED: Final = 120
_DETERMINISTIC_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes that something needs for a while.

    Attributes:
        size: Bytes, a multiple of the arena's alignment.
        lifetime: The first and last step that need it.
    """

    size: int
    lifetime: Lifetime


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


def place(buffers: Sequence[Buffer], *, solve: bool = True) -> Placement:
    """Pack buffers so that those which live at once do not overlap.

    Args:
        buffers: What to place; lifetimes may begin at -1.
        solve: Whether to use the solver where the greedy packing leaves a gap.
    """
    # A lifetime as a set of steps, one bit a step.
    masks = [
        (1 << (part.lifetime.last + 2)) - (1 << (part.lifetime.first + 1))
        for part in buffers
    ]
    return place_masks([part.size for part in buffers], masks, solve=solve)


def place_masks(
    sizes: Sequence[int], masks: Sequence[int], *, solve: bool = True
) -> Placement:
    """Pack buffers that each live during a set of steps.

    Args:
        sizes: Bytes of each buffer.
        masks: The steps during which it lives, as a set of bits.
        solve: Whether to use the solver where the greedy packing leaves a gap.
    """
    if not sizes:
        return Placement((), 0, 0)
    bound = _bound(sizes, masks)
    indices = range(len(sizes))
    conflicts = [
        [other for other in indices if other != one and masks[one] & masks[other]]
        for one in indices
    ]
    lengths = [mask.bit_count() for mask in masks]
    crowd = [sizes[i] + sum(sizes[o] for o in conflicts[i]) for i in indices]
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda i: (-sizes[i], i),
        lambda i: (-sizes[i] * lengths[i], i),
        lambda i: (-lengths[i], -sizes[i], i),
        lambda i: (-crowd[i], i),
        lambda i: (masks[i] & -masks[i], -sizes[i], i),
        lambda i: (-masks[i], -sizes[i], i),
    )
    best = _packed(sizes, conflicts, list(indices))
    for key in keys:
        if best[0] == bound:
            break
        found = _packed(sizes, conflicts, sorted(indices, key=key))
        if found[0] < best[0]:
            best = found
    if best[0] > bound and solve and len(sizes) <= _MOST_SOLVED:
        best = _solved(sizes, conflicts, best, bound)
    return Placement(tuple(best[1]), best[0], bound)


def _bound(sizes: Sequence[int], masks: Sequence[int]) -> int:
    """Return the most bytes that live during one step."""
    change: dict[int, int] = {}
    for size, mask in zip(sizes, masks, strict=True):
        position = 0
        rest = mask
        while rest:
            # Each run of ones is one stretch of time.
            start = (rest & -rest).bit_length() - 1
            rest >>= start
            length = (~rest & (rest + 1)).bit_length() - 1
            rest >>= length
            position += start
            change[position] = change.get(position, 0) + size
            change[position + length] = change.get(position + length, 0) - size
            position += length
    most = total = 0
    for position in sorted(change):
        total += change[position]
        most = max(most, total)
    return most


def _packed(
    sizes: Sequence[int], conflicts: list[list[int]], order: list[int]
) -> tuple[int, list[int]]:
    offsets = [-1] * len(sizes)
    end = 0
    for index in order:
        size = sizes[index]
        taken = sorted(
            (offsets[other], offsets[other] + sizes[other])
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


def _solved(
    sizes: Sequence[int],
    conflicts: list[list[int]],
    best: tuple[int, list[int]],
    bound: int,
) -> tuple[int, list[int]]:
    from ortools.sat.python import cp_model

    unit = ARENA_ALIGN_BYTES
    model = cp_model.CpModel()
    limit = model.new_int_var(bound // unit, best[0] // unit, "limit")
    at = []
    for size in sizes:
        offset = model.new_int_var(0, (best[0] - size) // unit, "")
        model.add(offset + size // unit <= limit)
        at.append(offset)
    for one, others in enumerate(conflicts):
        for other in others:
            if one < other:
                below = model.new_bool_var("")
                model.add(at[one] + sizes[one] // unit <= at[other]).only_enforce_if(
                    below
                )
                model.add(at[other] + sizes[other] // unit <= at[one]).only_enforce_if(
                    below.negated()
                )
    model.minimize(limit)
    for variable, start in zip(at, best[1], strict=True):
        model.add_hint(variable, start // unit)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_deterministic_time = _DETERMINISTIC_SECONDS
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return best
    found = int(solver.value(limit)) * unit
    if found >= best[0]:
        return best
    return found, [int(solver.value(offset)) * unit for offset in at]
