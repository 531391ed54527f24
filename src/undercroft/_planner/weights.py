# SPDX-License-Identifier: Apache-2.0
"""Which weights stay decrypted, and how large the window for the others is.

A byte that stays decrypted saves as many decryptions as the schedule has of it:
one for most, one a band for weights that are repeated in the stream. The memory
that is left over holds as many whole panels as fit, the most repeated first.
Operators with panels so large that they would widen the window may be worth
keeping first: every such choice is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from undercroft import _spec
from undercroft._format.ops import align

__all__ = ["Panels", "Residency", "choose", "smallest"]

# A step of three default pages is about 200 output channels of a pointwise
# convolution over 192: enough that starting a step costs nothing.
PREFERRED_WINDOW_PAGES: Final = 4
_LARGEST_WINDOW_PAGES: Final = 8
# Every operator that is resident in part runs one step more.
_MOST_PARTIAL: Final = 3


@dataclass(frozen=True, slots=True)
class Panels:
    """The panels of one operator: their size, how many, how often streamed."""

    panel_bytes: int
    count: int
    repeats: int = 1

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return self.panel_bytes * self.count


@dataclass(frozen=True, slots=True)
class Residency:
    """What stays decrypted.

    Attributes:
        resident: Resident panels of each operator, from its first on.
        steps: Streamed panels of each operator that are in the window at once.
        resident_bytes: The blob before padding.
        stream_bytes: The stream before padding, repetitions included.
        window_bytes: The window; 0 when nothing is streamed.
    """

    resident: tuple[int, ...]
    steps: tuple[int, ...]
    resident_bytes: int
    stream_bytes: int
    window_bytes: int


def choose(
    weights: Sequence[Panels],
    spare_bytes: int | None,
    page_bytes: int,
    whole: frozenset[int] = frozenset(),
) -> Residency | None:
    """Divide the spare memory between resident weights and the window.

    Args:
        weights: Panels of the operators, in order of execution; count 0 for
            those without weights.
        spare_bytes: Memory that nothing else needs; None for any amount.
        page_bytes: Bytes of a page; the resident region is whole pages.
        whole: Operators that are resident wholly or not at all.

    Returns:
        None when the spare memory is too small for any choice.
    """
    everything = [op.count for op in weights]
    all_bytes = _pages(_blob_bytes(weights, everything), page_bytes)
    if spare_bytes is None or all_bytes <= spare_bytes:
        return _residency(weights, everything, 0, page_bytes)
    best: Residency | None = None
    for largest in sorted({op.panel_bytes for op in weights if op.count}):
        kept = [op.count if op.panel_bytes > largest else 0 for op in weights]
        held = _pages(_blob_bytes(weights, kept), page_bytes)
        least = _least_window(largest, page_bytes)
        if held + least > spare_bytes:
            continue
        # No step is longer than the longest streamed operator.
        longest = max(op.size for op in weights if 0 < op.panel_bytes <= largest)
        window = min(
            max(PREFERRED_WINDOW_PAGES * page_bytes, least),
            max(align(longest + page_bytes + 64), least),
            _aligned_down(spare_bytes - held),
            # Longer steps save less than resident weights do.
            max(least, spare_bytes // 4),
        )
        capacity = (spare_bytes - window) // page_bytes * page_bytes
        _fill(weights, kept, capacity, whole)
        # What is left is less than a page: it makes the steps longer.
        held = _pages(_blob_bytes(weights, kept), page_bytes)
        window = min(
            max(_LARGEST_WINDOW_PAGES * page_bytes, window),
            _aligned_down(spare_bytes - held),
        )
        found = _residency(weights, kept, window, page_bytes)
        if best is None or _cost(weights, found, page_bytes) < _cost(
            weights, best, page_bytes
        ):
            best = found
    return best


def smallest(weights: Sequence[Panels], page_bytes: int) -> int:
    """Return the least spare memory for which `choose` finds something."""
    everything = [op.count for op in weights]
    best = _pages(_blob_bytes(weights, everything), page_bytes)
    for largest in {op.panel_bytes for op in weights if op.count}:
        kept = [op.count if op.panel_bytes > largest else 0 for op in weights]
        held = _pages(_blob_bytes(weights, kept), page_bytes)
        best = min(best, held + _least_window(largest, page_bytes))
    return best


def _cost(
    weights: Sequence[Panels], found: Residency, page_bytes: int
) -> tuple[int, int]:
    """Return pages to decrypt and, where those are equal, steps to compute."""
    steps = sum(
        op.repeats * -(-(op.count - kept) // step)
        for op, kept, step in zip(weights, found.resident, found.steps, strict=True)
        if step
    )
    return _pages(found.stream_bytes, page_bytes), steps


def _least_window(panel_bytes: int, page_bytes: int) -> int:
    return max(
        _spec.WINDOW_MIN_PAGES * page_bytes, align(panel_bytes + page_bytes + 64)
    )


def _aligned_down(size: int) -> int:
    return size // _spec.ARENA_ALIGN_BYTES * _spec.ARENA_ALIGN_BYTES


def _pages(size: int, page_bytes: int) -> int:
    return align(size, page_bytes)


def _blob_bytes(weights: Sequence[Panels], resident: Sequence[int]) -> int:
    return sum(
        align(op.panel_bytes * count)
        for op, count in zip(weights, resident, strict=True)
    )


def _fill(
    weights: Sequence[Panels],
    resident: list[int],
    capacity: int,
    whole: frozenset[int],
) -> None:
    """Add panels to `resident` until no more fit into the capacity."""
    left = capacity - _blob_bytes(weights, resident)
    # The most repeated first, then early ones: they have many positions for each
    # weight, where computing in fewer steps saves most.
    order = sorted(range(len(weights)), key=lambda i: (-weights[i].repeats, i))
    for index in order:
        op = weights[index]
        if resident[index] < op.count and align(op.size) <= left:
            resident[index] = op.count
            left -= align(op.size)
        elif op.repeats > 1 and not resident[index] and index not in whole:
            # Any part of it is worth more than what comes after it.
            resident[index] = left // op.panel_bytes
            left = _aligned_down(left - resident[index] * op.panel_bytes)
    for _ in range(_MOST_PARTIAL):
        fits = [
            (left // op.panel_bytes * op.panel_bytes, -index)
            for index, op in enumerate(weights)
            if resident[index] == 0 and op.count and index not in whole
        ]
        most, index = max(fits, default=(0, 0))
        if most == 0:
            return
        resident[-index] = most // weights[-index].panel_bytes
        left = _aligned_down(left - most)


def _residency(
    weights: Sequence[Panels], resident: Sequence[int], window: int, page_bytes: int
) -> Residency:
    steps: list[int] = []
    stream = 0
    largest_step = 0
    for op, kept in zip(weights, resident, strict=True):
        streamed = op.count - kept
        step = 0
        if streamed:
            step = min(streamed, (window - page_bytes - 64) // op.panel_bytes)
            largest_step = max(largest_step, step * op.panel_bytes)
        steps.append(step)
        stream += op.repeats * streamed * op.panel_bytes
    if stream:
        window = max(
            _spec.WINDOW_MIN_PAGES * page_bytes, align(largest_step + page_bytes + 64)
        )
    return Residency(
        resident=tuple(resident),
        steps=tuple(steps),
        resident_bytes=_blob_bytes(weights, resident),
        stream_bytes=stream,
        window_bytes=window if stream else 0,
    )
