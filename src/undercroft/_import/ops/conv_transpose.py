# SPDX-License-Identifier: Apache-2.0
"""ConvTranspose as ordinary convolutions, one for each phase of the stride.

With a stride of s, every s-th row of the output sees the same taps: a
convolution of the input with every s-th row of the kernel, reversed. The phases
are written into boxes of one tensor whose bytes are those of the image::

    (n, rows / sh, sh * columns / sw, sw * c)   the boxes
    (n, rows, columns, c)                       the image
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.ops.convolution import MOST_DEPTHWISE_TAPS
from undercroft._import.boxes import sliced
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.graph import Attributes
from undercroft._import.layout import NHWC
from undercroft._import.ops._registry import attribute, handler
from undercroft._import.ops._spatial import bind_lowered, lifted
from undercroft._import.source import Node
from undercroft._import.weights import ConvWeights, DepthwiseWeights, Weights
from undercroft._spec import Op

Array = npt.NDArray[np.float32]

_LANES = _spec.PANEL_CHANNELS


@dataclass(frozen=True, slots=True)
class _Axis:
    """One spatial axis.

    Attributes:
        kernel: Taps of the kernel, holes of a dilation included.
        stride: Distance of the input's elements in the output.
        pad: Padding before the first element; may be negative.
        size: Elements of the input.
        phase_size: Elements of each phase: the output's, divided, rounded up.
    """

    kernel: int
    stride: int
    pad: int
    size: int
    phase_size: int

    def reach(self, phases: range) -> tuple[int, int]:
        """Return the first and last input element that some phases see.

        Relative to the element with the index of the output's; at most 0 and at
        least what keeps the padding from being negative.
        """
        first = min(
            -((self.kernel - 1 - phase - self.pad) // self.stride) for phase in phases
        )
        last = max((phase + self.pad) // self.stride for phase in phases)
        first = min(first, 0)
        return first, max(last, first, self.size - self.phase_size)

    def taps(self, phase: int, first: int, last: int) -> npt.NDArray[np.int64]:
        """Return for each element seen the tap of the kernel, or -1."""
        taps = phase + self.pad - np.arange(first, last + 1) * self.stride
        return np.where((taps >= 0) & (taps < self.kernel), taps, -1)


@handler("ConvTranspose", limits="constant weights; one or two spatial dimensions")
def conv_transpose(node: Node, builder: Builder) -> None:
    """CONV_2D (or DEPTHWISE_CONV_2D) for each phase, and a reshape."""
    kernel = builder.floats(node.input(1), "weights")
    if kernel.ndim not in (3, 4):
        raise Unsupported(f"weights of shape {kernel.shape}; 1-D and 2-D are supported")
    rank = kernel.ndim
    image = lifted(builder, node.input(0))
    cin = image.shape[1]
    groups = int(attribute(node, "group", 1))
    cout = kernel.shape[1] * groups
    if cin != kernel.shape[0] or cin % groups:
        raise Unsupported(f"weights of shape {kernel.shape} for {cin} channels")
    bias = (
        builder.floats(node.input(2), "bias")
        if node.input(2)
        else np.zeros(cout, np.float32)
    )
    out = builder.shape(node.outputs[0])[2:]
    rows, columns = _axes(node, kernel.shape[2:], image.shape[2:], out)
    if rank == 3:
        kernel, out = kernel[:, :, np.newaxis], (1, *out)
    kernel = _filled(kernel, node)
    result = _phases(
        builder, image, _Weights(kernel, bias, groups), rows=rows, columns=columns
    )
    result = sliced(builder, result, 2, 0, out[0])
    result = sliced(builder, result, 3, 0, out[1])
    bind_lowered(builder, node, result, rank)


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    kernel: Array  # (cin, cout / groups, kh, kw), without dilation
    bias: Array
    groups: int

    @property
    def cout(self) -> int:
        return len(self.bias)

    def phase(
        self, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
    ) -> Array:
        """Return a kernel `(cout, cin / groups, taps, taps)` of one phase."""
        chosen = self.kernel[:, :, np.maximum(rows, 0)][..., np.maximum(columns, 0)]
        chosen = np.where((rows >= 0)[:, None] & (columns >= 0), chosen, 0)
        cin, cout_g, kh, kw = chosen.shape
        grouped = chosen.reshape(self.groups, cin // self.groups, cout_g, kh, kw)
        flat = grouped.transpose(0, 2, 1, 3, 4).reshape(self.cout, -1, kh, kw)
        return np.ascontiguousarray(flat, np.float32)


def _phases(
    builder: Builder, image: Value, weights: _Weights, *, rows: _Axis, columns: _Axis
) -> Value:
    n = image.shape[0]
    cout = weights.cout
    sh, sw = rows.stride, columns.stride
    hp, wp = rows.phase_size, columns.phase_size
    shape = (n, cout, hp * sh, wp * sw)
    apart = [range(phase, phase + 1) for phase in range(sw)]
    groups = _columns_together(weights, columns)
    parts = []
    whole = (
        builder.empty((n, sw * cout, hp, sh * wp), NHWC, (n, hp, sh * wp, sw * cout))
        if sh * len(groups) > 1
        else None
    )
    assert groups in ([range(sw)], apart)  # noqa: S101 (either all or none)
    for row in range(sh):
        for together in groups:
            part = _convolution(
                builder, image, weights, (rows, row), (columns, together)
            )
            parts.append(part)
            if whole is None:
                continue
            place = builder.box(
                whole,
                (0, 0, row * wp, together.start * cout),
                (n, hp, wp, len(together) * cout),
                part.shape,
                NHWC,
            )
            builder.emit(Op.CLAMP, [part], part.shape, NHWC, into=place)
    result = whole or parts[0]
    if sh * sw == 1:
        return result
    dims = (n, hp * sh, wp * sw, cout)
    result = builder.emit(Op.CLAMP, [result], shape, NHWC, dims=dims)
    builder.bounded_by(result, parts)
    return result


def _columns_together(weights: _Weights, columns: _Axis) -> list[range]:
    """Choose whether one convolution computes all phases of a row, or each its own.

    Together they share the input and waste no lanes of the kernels, but each has
    the taps of all, most of them 0.
    """
    every = range(columns.stride)
    apart = [range(phase, phase + 1) for phase in every]
    if weights.groups > 1:
        return apart

    def cost(phases: range) -> int:
        first, last = columns.reach(phases)
        return (last - first + 1) * -(-len(phases) * weights.cout // _LANES)

    return [every] if cost(every) <= sum(map(cost, apart)) else apart


def _convolution(
    builder: Builder,
    image: Value,
    weights: _Weights,
    row: tuple[_Axis, int],
    columns: tuple[_Axis, range],
) -> Value:
    n, cin = image.shape[:2]
    top, bottom = row[0].reach(range(row[1], row[1] + 1))
    left, right = columns[0].reach(columns[1])
    row_taps = row[0].taps(row[1], top, bottom)
    kernel = np.concatenate(
        [
            weights.phase(row_taps, columns[0].taps(phase, left, right))
            for phase in columns[1]
        ]
    )
    bias = np.tile(weights.bias, len(columns[1]))
    size = (len(row_taps), right - left + 1)
    if max(size) > _spec.MAX_KERNEL_SIZE:
        raise Unsupported(f"a kernel of {size} taps to a phase")
    depthwise = (
        weights.groups == cin == len(kernel)
        and size[0] * size[1] <= MOST_DEPTHWISE_TAPS
        and weights.groups > 1
    )
    packed: Weights = (
        DepthwiseWeights(kernel[:, 0], bias)
        if depthwise
        else ConvWeights(kernel, bias, weights.groups)
    )
    hp, wp = row[0].phase_size, columns[0].phase_size
    return builder.emit(
        Op.DEPTHWISE_CONV_2D if depthwise else Op.CONV_2D,
        [image],
        (n, len(kernel), hp, wp),
        NHWC,
        attributes=Attributes(
            kernel=size,
            stride=(1, 1),
            dilation=(1, 1),
            pads=(
                -top,
                -left,
                hp + bottom - row[0].size,
                wp + right - columns[0].size,
            ),
            groups=weights.groups,
        ),
        weights=packed,
    )


def _filled(kernel: Array, node: Node) -> Array:
    """Write a dilation as zeros between the taps."""
    dilations = attribute(node, "dilations", (1,) * (kernel.ndim - 2))
    dilations = (1,) * (2 - len(dilations)) + tuple(dilations)
    if dilations == (1, 1):
        return kernel
    kh, kw = kernel.shape[2:]
    size = ((kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1)
    if max(size) > _spec.MAX_KERNEL_SIZE * _spec.MAX_STRIDE:
        raise Unsupported(f"dilations {dilations}")
    wide = np.zeros((*kernel.shape[:2], *size), np.float32)
    wide[:, :, :: dilations[0], :: dilations[1]] = kernel
    return wide


def _axes(
    node: Node, kernel: tuple[int, ...], size: tuple[int, ...], out: tuple[int, ...]
) -> tuple[_Axis, _Axis]:
    rank = len(kernel)
    ones = (1,) * rank
    strides = attribute(node, "strides", ones)
    dilations = attribute(node, "dilations", ones)
    extra = attribute(node, "output_padding", (0,) * rank)
    pads = attribute(node, "pads", (0,) * 2 * rank)
    auto_pad = attribute(node, "auto_pad", "NOTSET")
    if max(strides) > _spec.MAX_STRIDE:
        raise Unsupported(f"a stride of {strides}")
    found = [_Axis(1, 1, 0, 1, 1)] * (2 - rank)
    for axis in range(rank):
        taps = dilations[axis] * (kernel[axis] - 1) + 1
        pad = pads[axis]
        if auto_pad != "NOTSET" or "output_shape" in node.attributes:
            elements = size[axis - rank]
            total = strides[axis] * (elements - 1) + extra[axis] + taps - out[axis]
            small, large = total // 2, total - total // 2
            pad = small if auto_pad == "SAME_UPPER" else large
            if auto_pad == "VALID":
                pad = 0
        found.append(
            _Axis(
                kernel=taps,
                stride=strides[axis],
                pad=pad,
                size=size[axis - rank],
                phase_size=-(-out[axis] // strides[axis]),
            )
        )
    return found[0], found[1]
