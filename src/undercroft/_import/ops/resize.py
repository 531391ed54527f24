# SPDX-License-Identifier: Apache-2.0
"""Resize and Upsample: coordinates as ONNX has them, worked out at import.

Nearest neighbours become a GATHER along any axes. Linear interpolation of an
image is RESIZE_LINEAR; everything else (cubic, antialiased, other axes) is a
multiplication with a matrix that holds the coefficients, an axis at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft._import import layout
from undercroft._import.boxes import gathered
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._coordinates import Axis, matrix, nearest, neighbours
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops._spatial import lifted
from undercroft._import.ops.dense import multiplied
from undercroft._import.source import Node
from undercroft._import.tables import ResizeTables
from undercroft._spec import Op


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Where the inputs are; they moved twice between operator sets."""

    roi: int
    scales: int
    sizes: int


_OPSET_OF_ROI = 11


@handler("Resize", "Upsample")
def resize(node: Node, builder: Builder) -> None:
    """GATHER, RESIZE_LINEAR or FULLY_CONNECTED."""
    value = builder.value(node.input(0))
    shape = builder.shape(node.outputs[0])
    mode = attribute(node, "mode", "nearest")
    axes = _axes(node, builder, value.shape, shape)
    fill = float(attribute(node, "extrapolation_value", 0.0))
    if mode == "nearest":
        rule = attribute(
            node, "nearest_mode", _old(node, "floor", "round_prefer_floor")
        )
        tables = {index: nearest(axis, rule) for index, axis in axes.items()}
        result = gathered(builder, value, tables, fill)
    elif mode in ("linear", "cubic"):
        antialias = bool(attribute(node, "antialias", 0))
        exclude = bool(attribute(node, "exclude_outside", 0))
        cubic = float(attribute(node, "cubic_coeff_a", -0.75))
        image = len(shape) in (3, 4) and set(axes) <= {len(shape) - 2, len(shape) - 1}
        if len(shape) == 3:
            image = set(axes) <= {2}
        if mode == "linear" and image and not antialias and not exclude:
            result = _linear(builder, node.input(0), axes, shape, fill)
        else:
            result = value
            for index, axis in axes.items():
                if axis.extrapolates:
                    raise Unsupported(f"mode={mode} with extrapolation")
                coefficients = matrix(
                    axis, cubic if mode == "cubic" else None, antialias, exclude
                )
                result = multiplied(builder, result, index, coefficients)
    else:
        raise Unsupported(f"attribute mode={mode}")
    builder.bind(node.outputs[0], result)


def _linear(
    builder: Builder,
    name: str,
    axes: dict[int, Axis],
    shape: layout.Shape,
    fill: float,
) -> Value:
    image = lifted(builder, name)
    first = len(shape) - 2
    rows = axes.get(first) if len(shape) == 4 else None
    columns = axes.get(first + 1)
    height, width = image.shape[2:]
    tables = ResizeTables(
        neighbours(rows or Axis.unchanged(height)),
        neighbours(columns or Axis.unchanged(width)),
    )
    result = builder.emit(
        Op.RESIZE_LINEAR,
        [image],
        (*image.shape[:2], len(tables.h.low), len(tables.w.low)),
        NHWC,
        attributes=Attributes(alpha=fill),
        weights=tables,
    )
    return builder.viewed(result, shape)


def _axes(
    node: Node, builder: Builder, old: layout.Shape, new: layout.Shape
) -> dict[int, Axis]:
    """Return the axes that are resized, with what says how."""
    rank = len(old)
    given = attribute(node, "axes", None)
    chosen = list(range(rank)) if given is None else [int(a) % rank for a in given]
    late = node.op_type == "Resize" and node.opset >= _OPSET_OF_ROI
    places = _Inputs(1, 2, 3) if late else _Inputs(9, 1, 9)
    scales = _floats(node, builder, places.scales, "scales")
    if scales is None or not scales.size:
        given = attribute(node, "scales", None)
        scales = None if given is None else np.array(given, np.float32)
    roi = _floats(node, builder, places.roi, "roi")
    mode = attribute(
        node,
        "coordinate_transformation_mode",
        _old(node, "asymmetric", "half_pixel"),
    )
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    ratios = np.array([new[a] / old[a] for a in chosen], np.float32)
    if scales is not None:
        ratios = scales
    elif policy != "stretch":
        sizes = builder.constant(node.input(places.sizes))
        if sizes is None:
            raise Unsupported("its sizes are not constant")
        wanted = sizes.reshape(-1) / [old[axis] for axis in chosen]
        best = wanted.min() if policy == "not_larger" else wanted.max()
        ratios = np.full(len(chosen), best, np.float32)
    found = {}
    for index, axis in enumerate(chosen):
        region = (0.0, 1.0)
        if mode == "tf_crop_and_resize":
            if roi is None or roi.size != 2 * len(chosen):
                raise Unsupported("it has no region of interest")
            region = (float(roi[index]), float(roi[index + len(chosen)]))
        found[axis] = Axis(
            old[axis], new[axis], np.float32(ratios[index]), mode, region
        )
    return {index: axis for index, axis in found.items() if not axis.changes_nothing}


def _old(node: Node, before: str, since: str) -> str:
    """Return a default that Resize got with its third form (opset 11)."""
    late = node.op_type == "Resize" and node.opset >= _OPSET_OF_ROI
    return since if late else before


def _floats(
    node: Node, builder: Builder, index: int, what: str
) -> npt.NDArray[np.float32] | None:
    name = node.input(index)
    # A value without elements stands for one that is left out.
    if not name or (name not in builder.source.constants and what == "roi"):
        return None
    array = builder.floats(name, what)
    return array.reshape(-1) if array.size else None
