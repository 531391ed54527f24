# SPDX-License-Identifier: Apache-2.0
"""What stays decrypted fits, fills the memory, and leaves a window."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from undercroft._format.ops import align
from undercroft._planner.weights import Panels, Residency, choose, smallest

PAGE = 4096

weights_of_a_network = st.lists(
    st.builds(Panels, st.integers(1, 300).map(lambda n: 32 * n), st.integers(0, 60)),
    min_size=1,
    max_size=20,
)


def needed(found: Residency) -> int:
    return align(found.resident_bytes, PAGE) + found.window_bytes


def total(weights: list[Panels]) -> int:
    return sum(op.size for op in weights)


@settings(max_examples=200, deadline=None)
@given(weights_of_a_network, st.integers(0, 300 * PAGE))
def test_it_fits_and_is_complete(weights: list[Panels], extra: int) -> None:
    spare = smallest(weights, PAGE) + extra
    found = choose(weights, spare, PAGE)
    assert found is not None
    assert needed(found) <= spare
    stream = largest = 0
    for op, kept, step in zip(weights, found.resident, found.steps, strict=True):
        streamed = op.count - kept
        assert 0 <= kept <= op.count
        assert (1 <= step <= streamed) if streamed else step == 0
        stream += streamed * op.panel_bytes
        largest = max(largest, step * op.panel_bytes)
    assert found.stream_bytes == stream
    if stream:
        assert found.window_bytes >= largest + PAGE + 64


@settings(deadline=None)
@given(weights_of_a_network)
def test_the_smallest_is_the_smallest(weights: list[Panels]) -> None:
    least = smallest(weights, PAGE)
    if least:
        assert choose(weights, least, PAGE) is not None
        assert choose(weights, least - 64, PAGE) is None


@settings(deadline=None)
@given(weights_of_a_network)
def test_without_a_limit_nothing_is_streamed(weights: list[Panels]) -> None:
    found = choose(weights, None, PAGE)
    assert found is not None
    assert found.stream_bytes == found.window_bytes == 0
    assert found.resident == tuple(op.count for op in weights)


@settings(deadline=None)
@given(weights_of_a_network, st.integers(0, 100 * PAGE))
def test_more_memory_never_means_more_pages(weights: list[Panels], extra: int) -> None:
    spare = smallest(weights, PAGE) + extra
    one, other = choose(weights, spare, PAGE), choose(weights, spare + 16 * PAGE, PAGE)
    assert one is not None
    assert other is not None
    # Whole panels: a little may go the other way.
    assert other.stream_bytes <= one.stream_bytes + max(w.panel_bytes for w in weights)


def test_the_memory_is_filled() -> None:
    weights = [Panels(32 * 193, 144) for _ in range(10)]
    spare = total(weights) // 2
    found = choose(weights, spare, 65536)
    assert found is not None
    unused = spare - align(found.resident_bytes, 65536) - found.window_bytes
    assert unused < 65536
    assert align(found.resident_bytes, 65536) - found.resident_bytes < 32 * 193


def test_a_giant_panel_is_kept_rather_than_given_a_window() -> None:
    weights = [Panels(64 * PAGE, 1), Panels(1024, 400)]
    spare = 64 * PAGE + 8 * PAGE
    found = choose(weights, spare, PAGE)
    assert found is not None
    assert found.resident[0] == 1
    assert found.window_bytes < 10 * PAGE


def test_repeated_weights_stay_first() -> None:
    weights = [Panels(1024, 40), Panels(1024, 40, repeats=7)]
    found = choose(weights, 40 * 1024 + 4 * PAGE, PAGE)
    assert found is not None
    assert found.resident[1] == 40
    assert found.resident[0] < 10


def test_held_weights_are_resident_wholly_or_not_at_all() -> None:
    weights = [Panels(1024, 40)]
    found = choose(weights, 20 * 1024, PAGE, whole=frozenset({0}))
    assert found is not None
    assert found.resident == (0,)
