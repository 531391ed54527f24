# SPDX-License-Identifier: Apache-2.0
"""Orders of axes against NumPy, which really moves the bytes."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from undercroft._import import layout

shapes = st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=5).map(tuple)


@st.composite
def values(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    shape = draw(shapes)
    return shape, tuple(draw(st.permutations(range(len(shape)))))


def stored(shape: tuple[int, ...], order: tuple[int, ...]) -> np.ndarray:
    """The bytes of a value with elements 0, 1, 2… in ONNX's order."""
    return np.arange(math.prod(shape)).reshape(shape).transpose(order).reshape(-1)


@st.composite
def reshapes(draw: st.DrawFn) -> tuple[tuple, tuple, tuple]:
    shape, order = draw(values())
    atoms = [p for size in shape for p in ([2, 3] if size == 6 else [size])]
    new: list[int] = []
    for atom in draw(st.permutations(atoms)):
        if new and draw(st.booleans()):
            new[-1] *= atom
        else:
            new.append(atom)
    return shape, order, tuple(new)


@settings(deadline=None)
@given(reshapes())
def test_a_free_reshape_moves_no_byte(case: tuple) -> None:
    shape, order, new = case
    found = layout.reshaped_order(shape, order, new)
    assume(found is not None)
    assert sorted(found) == list(range(len(new)))
    assert (stored(shape, order) == stored(new, found)).all()


@settings(deadline=None)
@given(reshapes())
def test_gathered_axes_make_a_reshape_free(case: tuple) -> None:
    shape, order, new = case
    gathered = layout.gathered(shape, order, new)
    assert layout.reshaped_order(shape, gathered, new) is not None
    if layout.reshaped_order(shape, order, new) is not None:
        assert layout.same_arrangement(shape, order, gathered)


@settings(deadline=None)
@given(reshapes())
def test_row_major_reshapes_are_free(case: tuple) -> None:
    shape, _, new = case
    order = layout.row_major(len(shape))
    found = layout.reshaped_order(shape, order, new)
    assert found is not None
    assert layout.same_arrangement(new, found, layout.row_major(len(new)))


@settings(deadline=None)
@given(values(), st.data())
def test_arrangement_is_what_a_transpose_does(
    value: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, order = value
    target = tuple(data.draw(st.permutations(range(len(shape)))))
    dims = layout.canonical_dims(shape, order)
    assert math.prod(dims) == math.prod(shape)
    found = layout.arrangement(dims, shape, order, target)
    assume(found is not None)
    for permutation in found:
        moved = stored(shape, order).reshape(dims).transpose(permutation).reshape(-1)
        assert (moved == stored(shape, target)).all()


@settings(deadline=None)
@given(values(), st.data())
def test_single_steps_arrive(
    value: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, order = value
    target = tuple(data.draw(st.permutations(range(len(shape)))))
    for _ in range(len(shape)):
        if layout.same_arrangement(shape, order, target):
            break
        step = layout.one_step(shape, order, target)
        assert len(layout.runs(shape, order, step)) <= 4
        order = step
    assert layout.same_arrangement(shape, order, target)


@settings(deadline=None)
@given(values(), st.data())
def test_split_axes_end_where_dimensions_end(
    value: tuple[tuple[int, ...], tuple[int, ...]], data: st.DataObject
) -> None:
    shape, order = value
    count = math.prod(shape)
    dims = []
    for _ in range(3):
        dims.append(data.draw(st.sampled_from(_divisors(count))))
        count //= dims[-1]
    parts = layout.split((dims[0], dims[1], dims[2], count), shape, order)
    assume(parts is not None)
    fine = tuple(size for part in parts for size in part)
    assert [math.prod(part) for part in parts] == list(shape)
    fine_order = layout.reshaped_order(shape, order, fine)
    assert fine_order is not None
    assert layout.spread((*dims, count), fine, fine_order) is not None


def _divisors(count: int) -> list[int]:
    return [divisor for divisor in range(1, count + 1) if count % divisor == 0]


def test_images_lie_as_nhwc() -> None:
    assert layout.canonical_dims((2, 3, 5, 7), layout.NHWC) == (2, 5, 7, 3)
    assert layout.canonical_dims((2, 5, 7), (0, 1, 2)) == (2, 1, 5, 7)
    assert layout.canonical_dims((2, 7), (0, 1)) == (2, 1, 1, 7)
    assert layout.canonical_dims((7,), (0,)) == (1, 1, 1, 7)
    assert layout.canonical_dims((), ()) == (1, 1, 1, 1)
    assert layout.canonical_dims((2, 3, 4, 5, 6), (0, 1, 2, 3, 4)) == (6, 4, 5, 6)


def test_one_pixel_has_one_arrangement() -> None:
    assert layout.same_arrangement((1, 9, 1, 1), (0, 1, 2, 3), layout.NHWC)
    assert not layout.same_arrangement((1, 9, 1, 2), (0, 1, 2, 3), layout.NHWC)
