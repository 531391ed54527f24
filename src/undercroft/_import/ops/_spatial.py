# SPDX-License-Identifier: Apache-2.0
"""Kernels, strides and padding of convolution and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from undercroft import _spec
from undercroft._import.builder import Builder, Unsupported, Value
from undercroft._import.layout import Shape
from undercroft._import.ops._registry import attribute
from undercroft._import.source import Node

__all__ = ["Spatial", "bind_lowered", "lifted"]


@dataclass(frozen=True, slots=True)
class Spatial:
    """The window of an operator over height and width."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pads: tuple[int, int, int, int]

    @classmethod
    def of(cls, node: Node, kernel: tuple[int, ...], size: tuple[int, int]) -> Spatial:
        """Read the attributes of a node.

        Args:
            node: A convolution or pooling.
            kernel: Its kernel, of one or two axes.
            size: Height and width of the input.

        Raises:
            Unsupported: Beyond the engine's limits.
        """
        rank = len(kernel)
        kernel = _two(kernel, 1)
        stride = _two(attribute(node, "strides", (1,) * rank), 1)
        dilation = _two(attribute(node, "dilations", (1,) * rank), 1)
        if max(kernel) > _spec.MAX_KERNEL_SIZE:
            raise Unsupported(
                f"a kernel of {kernel}; at most {_spec.MAX_KERNEL_SIZE} is supported"
            )
        if max(stride) > _spec.MAX_STRIDE:
            raise Unsupported(
                f"a stride of {stride}; at most {_spec.MAX_STRIDE} is supported"
            )
        auto_pad = attribute(node, "auto_pad", "NOTSET")
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            pads = _same_pads(kernel, stride, dilation, size, auto_pad == "SAME_UPPER")
        elif auto_pad == "VALID":
            pads = (0, 0, 0, 0)
        else:
            given = attribute(node, "pads", (0,) * 2 * rank)
            top, left = _two(given[:rank], 0)
            bottom, right = _two(given[rank:], 0)
            pads = (top, left, bottom, right)
        if min(pads) < 0 or max(*pads, *dilation) > 0xFFFF:
            raise Unsupported(f"pads {pads}, dilations {dilation}")
        return cls(kernel, stride, dilation, pads)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the output, rounded down."""
        found = [
            (
                size[axis]
                + self.pads[axis]
                + self.pads[axis + 2]
                - self.dilation[axis] * (self.kernel[axis] - 1)
                - 1
            )
            // self.stride[axis]
            + 1
            for axis in (0, 1)
        ]
        if min(found) < 1:
            raise Unsupported("its kernel is larger than its padded input")
        return found[0], found[1]


def _two(values: tuple[int, ...] | list[int], missing: int) -> tuple[int, int]:
    if len(values) == 1:
        return missing, int(values[0])
    return int(values[0]), int(values[1])


def _same_pads(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    size: tuple[int, int],
    upper: bool,
) -> tuple[int, int, int, int]:
    begins, ends = [], []
    for axis in (0, 1):
        outputs = -(-size[axis] // stride[axis])
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        total = max(0, (outputs - 1) * stride[axis] + reach - size[axis])
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return begins[0], begins[1], ends[0], ends[1]


def lifted(builder: Builder, name: str) -> Value:
    """Return an operand as an image; a sequence (N, C, L) becomes (N, C, 1, L)."""
    value = builder.value(name)
    if len(value.shape) == 3:
        n, c, length = value.shape
        value = builder.viewed(value, (n, c, 1, length))
    elif len(value.shape) != 4:
        raise Unsupported(
            f"its input has shape {value.shape}; rank 3 or 4 is supported"
        )
    return builder.nhwc(value)


def bind_lowered(builder: Builder, node: Node, value: Value, rank: int) -> None:
    """Bind an image to the node's output, as a sequence for rank 3."""
    shape: Shape = value.shape
    if rank == 3:
        value = builder.viewed(value, (shape[0], shape[1], shape[3]))
    builder.bind(node.outputs[0], value)
