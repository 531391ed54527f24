# SPDX-License-Identifier: Apache-2.0
"""Where the elements of a resized axis lie in the axis that it comes from.

In float32 and in the order of operations of onnxruntime, since a coordinate
that lies half way between two elements goes to one or the other by its last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft._import.builder import Unsupported
from undercroft._import.tables import MISSING, Taps

__all__ = ["Axis", "matrix", "nearest", "neighbours"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Axis:
    """A resized axis.

    Attributes:
        old: Elements before.
        new: Elements after.
        scale: What ONNX calls the scale: about new / old.
        mode: ONNX's coordinate_transformation_mode.
        region: For tf_crop_and_resize, where the region begins and ends, as
            parts of the axis.
    """

    old: int
    new: int
    scale: np.float32
    mode: str
    region: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def unchanged(cls, size: int) -> Axis:
        """Return an axis that stays as it is."""
        return cls(size, size, np.float32(1), "asymmetric")

    @property
    def extrapolates(self) -> bool:
        """Whether elements from outside are filled instead of repeated."""
        return self.mode == "tf_crop_and_resize"

    @property
    def changes_nothing(self) -> bool:
        """Whether every element stays where it is."""
        same = np.arange(self.new, dtype=np.float32)
        return self.old == self.new and np.array_equal(self.coordinates(), same)

    def coordinates(self) -> Floats:
        """Return where each element lies, in elements of the old axis."""
        x = np.arange(self.new, dtype=np.float32)
        half, one = np.float32(0.5), np.float32(1)
        if self.mode == "asymmetric":
            return x / self.scale
        if self.mode == "half_pixel" or (
            self.mode == "pytorch_half_pixel" and self.new > 1
        ):
            return (x + half) / self.scale - half
        if self.mode == "pytorch_half_pixel":
            return np.zeros_like(x)
        if self.mode == "half_pixel_symmetric":
            # The length that the scale says, whose fraction is cut off.
            adjustment = np.float32(self.new) / (self.scale * np.float32(self.old))
            center = np.float32(self.old) / np.float32(2)
            offset = center * (one - adjustment)
            return offset + (x + half) / self.scale - half
        if self.mode == "align_corners":
            if self.new == 1:
                return np.zeros_like(x)
            return x * np.float32(self.old - 1) / np.float32(self.new - 1)
        if self.mode == "tf_half_pixel_for_nn":
            return (x + half) / self.scale
        if self.mode == "tf_crop_and_resize":
            start, end = (np.float32(part) for part in self.region)
            last = np.float32(self.old - 1)
            if self.new == 1:
                return np.full_like(x, half * (start + end) * last)
            step = (end - start) * last / np.float32(self.new - 1)
            return start * last + x * step
        raise Unsupported(f"attribute coordinate_transformation_mode={self.mode}")


def nearest(axis: Axis, rule: str) -> npt.NDArray[np.int64]:
    """Return the nearest element of each, -1 for one that is filled.

    Args:
        axis: The axis.
        rule: ONNX's nearest_mode.

    Raises:
        Unsupported: Another rule.
    """
    at = axis.coordinates()
    if rule == "round_prefer_floor":
        # Halves go down, everything else to the nearest.
        whole = np.where(at == np.floor(at) + np.float32(0.5), np.floor(at), _round(at))
    elif rule == "round_prefer_ceil":
        whole = _round(at)
    elif rule == "floor":
        whole = np.floor(at)
    elif rule == "ceil":
        whole = np.ceil(at)
    else:
        raise Unsupported(f"attribute nearest_mode={rule}")
    indices = np.clip(whole.astype(np.int64), 0, axis.old - 1)
    return np.where(_outside(axis, at), -1, indices)


def neighbours(axis: Axis) -> Taps:
    """Return between which two elements each lies, and where between them."""
    at = axis.coordinates()
    outside = _outside(axis, at)
    at = np.clip(at, 0, np.float32(axis.old - 1))
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, axis.old - 1)
    weight = (at - low.astype(np.float32)).astype(np.float32)
    return Taps(
        np.where(outside, MISSING, low).astype(np.uint32),
        np.where(outside, MISSING, high).astype(np.uint32),
        np.where(low == high, np.float32(0), weight),
    )


def matrix(
    axis: Axis,
    cubic: float | None,
    antialias: bool,
    exclude_outside: bool,
) -> Floats:
    """Return coefficients `(old, new)` of cubic or linear interpolation.

    Args:
        axis: The axis.
        cubic: The coefficient `a` of cubic interpolation, None for linear.
        antialias: Widen the window where the axis shrinks.
        exclude_outside: Leave out elements outside instead of repeating the
            ones at the edge.
    """
    at = axis.coordinates().astype(np.float64)
    stretch = min(1.0, float(axis.scale)) if antialias else 1.0
    reach = (1.0 if cubic is None else 2.0) / stretch
    result = np.zeros((axis.old, axis.new), np.float64)
    for index, x in enumerate(at):
        first = math.floor(x - reach) + 1 if antialias else math.floor(x - reach + 1)
        taps = np.arange(first, first + 2 * math.ceil(reach) + 1)
        distance = np.abs(taps - x) * stretch
        weights = _linear(distance) if cubic is None else _cubic(distance, cubic)
        inside = (taps >= 0) & (taps < axis.old)
        if exclude_outside:
            weights = np.where(inside, weights, 0.0)
        weights /= weights.sum()
        np.add.at(result[:, index], np.clip(taps, 0, axis.old - 1), weights)
    return result.astype(np.float32)


def _linear(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(distance: npt.NDArray[np.float64], a: float) -> npt.NDArray[np.float64]:
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _round(at: Floats) -> Floats:
    """Round to the nearest, halves away from zero, as C's round."""
    return np.trunc(at + np.copysign(np.float32(0.5), at)).astype(np.float32)


def _outside(axis: Axis, at: Floats) -> npt.NDArray[np.bool_]:
    if not axis.extrapolates:
        return np.zeros(len(at), np.bool_)
    return (at < 0) | (at > axis.old - 1)
