# SPDX-License-Identifier: Apache-2.0
"""Placement: buffers that live at once never overlap."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from undercroft._planner.lives import Lifetime
from undercroft._planner.place import Buffer, place, place_masks

OPS = 12


@st.composite
def buffer(draw: st.DrawFn) -> Buffer:
    first = draw(st.integers(-1, OPS - 1))
    last = draw(st.integers(max(first, 0), OPS))
    return Buffer(64 * draw(st.integers(1, 40)), Lifetime(first, last))


def live(buffers: list[Buffer]) -> int:
    return max(
        sum(b.size for b in buffers if b.lifetime.first <= step <= b.lifetime.last)
        for step in range(-1, OPS + 1)
    )


def overlap(one: int, size: int, other: int, other_size: int) -> bool:
    return one < other + other_size and other < one + size


@settings(max_examples=150, deadline=None)
@given(st.lists(buffer(), min_size=1, max_size=14))
def test_what_lives_at_once_does_not_overlap(buffers: list[Buffer]) -> None:
    placement = place(buffers)
    assert placement.lower_bound == live(buffers) <= placement.size
    assert placement.size <= sum(part.size for part in buffers)
    for i, one in enumerate(buffers):
        assert placement.offsets[i] % 64 == 0
        assert 0 <= placement.offsets[i] <= placement.size - one.size
        for j, other in enumerate(buffers[:i]):
            if one.lifetime.meets(other.lifetime):
                assert not overlap(
                    placement.offsets[i],
                    one.size,
                    placement.offsets[j],
                    other.size,
                )
    assert place(buffers) == placement


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=30))
def test_a_chain_meets_its_lower_bound(sizes: list[int]) -> None:
    buffers = [
        Buffer(64 * size, Lifetime(index - 1, index))
        for index, size in enumerate(sizes)
    ]
    bound = 64 * max(a + b for a, b in pairwise(sizes))
    assert place(buffers).size == bound


def test_a_hole_is_filled_by_what_fits_it_best() -> None:
    lives = [(100, 0, 9), (40, 0, 4), (50, 0, 9), (10, 0, 4), (40, 5, 9), (10, 5, 9)]
    buffers = [Buffer(64 * size, Lifetime(a, b)) for size, a, b in lives]
    assert place(buffers).size == 64 * 200


def test_the_solver_closes_the_gap_that_packing_leaves() -> None:
    # Found by trying: every greedy order leaves a hole.
    lives = [
        (7, 0, 3),
        (5, 2, 5),
        (6, 4, 8),
        (3, 0, 1),
        (4, 6, 9),
        (8, 7, 9),
        (2, 1, 6),
    ]
    buffers = [Buffer(64 * size, Lifetime(a, b)) for size, a, b in lives]
    solved, greedy = place(buffers), place(buffers, solve=False)
    assert solved.lower_bound <= solved.size <= greedy.size


def test_times_may_have_holes() -> None:
    # In bands, what is kept lives before and after the band, not in between.
    placement = place_masks([64, 64, 64], [0b1001, 0b0110, 0b1111])
    assert placement.size == 128
    assert placement.offsets[0] == placement.offsets[1]
