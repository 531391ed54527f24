# SPDX-License-Identifier: Apache-2.0
"""Slice, Gather, Pad, Expand and Tile: elements picked by constant indices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from undercroft._import.boxes import gathered, sliced
from undercroft._import.builder import Builder, Unsupported
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.source import Node


@handler("Slice")
def slice_(node: Node, builder: Builder) -> None:
    """A view for steps of 1, GATHER for others; bounds are clamped as in ONNX."""
    value = builder.value(node.input(0))
    rank = len(value.shape)
    starts = _integers(node, builder, 1, "starts")
    ends = _integers(node, builder, 2, "ends")
    if starts is None or ends is None:
        raise Unsupported("it has no starts or ends")
    axes = _integers(node, builder, 3, "axes") or list(range(len(starts)))
    steps = _integers(node, builder, 4, "steps") or [1] * len(starts)
    picked = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        place = axis % rank
        chosen = range(value.shape[place])[slice(start, end, step)]
        if not chosen:
            raise Unsupported(f"nothing is left of axis {place}")
        if step == 1:
            value = sliced(builder, value, place, chosen.start, chosen.stop)
        else:
            picked[place] = np.array(chosen, np.int64)
    builder.bind(node.outputs[0], gathered(builder, value, picked))


@handler("Gather")
def gather(node: Node, builder: Builder) -> None:
    """A view where the indices follow one another, else GATHER."""
    value = builder.value(node.input(0))
    indices = builder.constant(node.input(1))
    if indices is None:
        raise Unsupported(f"its indices {node.input(1)!r} are not constant")
    axis = int(attribute(node, "axis", 0)) % len(value.shape)
    size = value.shape[axis]
    flat = indices.astype(np.int64).reshape(-1)
    if not ((flat >= -size) & (flat < size)).all():
        raise Unsupported(f"its indices are not all within {size} elements")
    value = gathered(builder, value, {axis: flat % size})
    shape = (*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :])
    builder.bind(node.outputs[0], builder.reshaped(value, shape))


@handler("Pad")
def pad(node: Node, builder: Builder) -> None:
    """GATHER, in every mode; negative pads cut off."""
    value = builder.value(node.input(0))
    rank = len(value.shape)
    mode = attribute(node, "mode", "constant")
    pads = _integers(node, builder, 1, "pads")
    if pads is None:
        pads = attribute(node, "paddings", None)
    if pads is None:
        raise Unsupported("it has no pads")
    axes = _integers(node, builder, 3, "axes") or list(range(rank))
    fill = float(attribute(node, "value", 0.0))
    if node.input(2):
        array = builder.floats(node.input(2), "constant_value")
        fill = float(array.reshape(())) if array.size else 0.0
    picked = {}
    for position, axis in enumerate(axes):
        before, after = pads[position], pads[position + len(axes)]
        size = value.shape[axis % rank]
        if size + before + after < 1:
            raise Unsupported(f"nothing is left of axis {axis}")
        picked[axis % rank] = _padded(size, before, after, mode)
    builder.bind(node.outputs[0], gathered(builder, value, picked, fill))


def _padded(size: int, before: int, after: int, mode: str) -> npt.NDArray[np.int64]:
    indices = np.arange(-before, size + after, dtype=np.int64)
    if mode == "constant":
        return np.where((indices >= 0) & (indices < size), indices, -1)
    if mode == "edge":
        return np.clip(indices, 0, size - 1)
    if mode == "reflect":
        if size == 1:
            return np.zeros_like(indices)
        folded = indices % (2 * (size - 1))
        return np.minimum(folded, 2 * (size - 1) - folded)
    if mode == "wrap":
        return indices % size
    raise Unsupported(f"attribute mode={mode}")


@handler("Expand", "Tile")
def expand(node: Node, builder: Builder) -> None:
    """GATHER; the result's shape was inferred."""
    value = builder.value(node.input(0))
    shape = builder.shape(node.outputs[0])
    if len(shape) > len(value.shape):
        lifted = (1,) * (len(shape) - len(value.shape)) + value.shape
        value = builder.viewed(value, lifted)
    picked = {
        axis: np.arange(new, dtype=np.int64) % old
        for axis, (old, new) in enumerate(zip(value.shape, shape, strict=True))
    }
    if math.prod(shape) % math.prod(value.shape):
        raise Unsupported(f"it repeats {value.shape} to {shape}")
    builder.bind(node.outputs[0], gathered(builder, value, picked))


def _integers(node: Node, builder: Builder, index: int, name: str) -> list[int] | None:
    """Return a list that is an attribute in old models, an input in newer ones."""
    if not node.input(index):
        given: Any = attribute(node, name, None)
        return None if given is None else [int(value) for value in given]
    array = builder.constant(node.input(index))
    if array is None:
        raise Unsupported(f"{name} {node.input(index)!r} is not constant")
    return [int(value) for value in array.reshape(-1)]
