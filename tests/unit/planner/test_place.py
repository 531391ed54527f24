# SPDX-License-Identifier: Apache-2.0
"""Placement: buffers that live at once never overlap."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from undercroft._planner.place import place
from undercroft._planner.schedule import Buffer, Lifetime, live_bytes

OPS = 12


@st.composite
def buffer(draw: st.DrawFn) -> Buffer:
    first = draw(st.integers(-1, OPS - 1))
    last = draw(st.integers(max(first, 0), OPS))
    return Buffer(64 * draw(st.integers(1, 40)), Lifetime(first, last), ())


def overlap(one: int, size: int, other: int, other_size: int) -> bool:
    return one < other + other_size and other < one + size


@settings(max_examples=150, deadline=None)
@given(st.lists(buffer(), min_size=1, max_size=14))
def test_what_lives_at_once_does_not_overlap(buffers: list[Buffer]) -> None:
    bound = max(live_bytes(buffers, OPS))
    placement = place(buffers, bound)
    assert placement.lower_bound == bound <= placement.size
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
    assert place(buffers, bound) == placement


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=30))
def test_a_chain_meets_its_lower_bound(sizes: list[int]) -> None:
    buffers = [
        Buffer(64 * size, Lifetime(index - 1, index), ())
        for index, size in enumerate(sizes)
    ]
    bound = 64 * max(a + b for a, b in pairwise(sizes))
    assert place(buffers, bound).size == bound


def test_a_hole_is_filled_by_what_fits_it_best() -> None:
    lives = [(100, 0, 9), (40, 0, 4), (50, 0, 9), (10, 0, 4), (40, 5, 9), (10, 5, 9)]
    buffers = [Buffer(64 * size, Lifetime(a, b), ()) for size, a, b in lives]
    assert place(buffers, 64 * 200).size == 64 * 200
