# SPDX-License-Identifier: Apache-2.0
"""Averages over an image, taken before a pointwise convolution of it.

A squeeze-and-excitation block averages an image and then multiplies that image by
what came of the average, so that the image has to exist whole in between. Where a
pointwise convolution without an activation made it, the average of its output is
its output of the average: the convolution is linear and sees one pixel at a time.
Averaged before, a smaller image waits, and the convolution can run in bands together
with what reads it.
"""

from __future__ import annotations

from dataclasses import replace

from undercroft._import.graph import NO_CLAMP, Tensor
from undercroft._planner.network import (
    Box,
    Network,
    Node,
    compact,
    readers_of,
    writers_of,
)
from undercroft._spec import Op

__all__ = ["with_early_averages"]


def with_early_averages(net: Network) -> Network:
    """Return the network with averages taken before pointwise convolutions.

    Only where the convolution's input has no more channels than its output, so
    that less waits than before. The average then has a copy of the weights.

    Args:
        net: The network; returned itself where there is nothing to do.
    """
    writers, readers = writers_of(net), readers_of(net)
    roots = list(net.roots)
    replaced: dict[int, list[Node]] = {}
    unread = {root: set(nodes) for root, nodes in readers.items()}
    for position, pool in enumerate(net.nodes):
        if pool.operator.code is not Op.GLOBAL_AVERAGE_POOL:
            continue
        image = pool.reads[0]
        written = writers.get(image.root, [])
        conv = net.nodes[written[0]] if len(written) == 1 else None
        if conv is None or image != conv.writes or not _is_linear(conv):
            continue
        replaced[position] = _averaged_first(roots, conv, pool)
        unread[image.root].discard(position)
    if not replaced:
        return net
    idle = {
        writers[root][0]
        for root, left in unread.items()
        if not left and root not in net.outputs
    }
    nodes = [
        node
        for position, old in enumerate(net.nodes)
        if position not in idle
        for node in replaced.get(position, [old])
    ]
    return compact(replace(net, roots=tuple(roots), nodes=tuple(nodes)))


def _is_linear(conv: Node) -> bool:
    """Whether it is pointwise, unbounded, and makes its image no smaller."""
    operator, attributes = conv.operator, conv.operator.attributes
    return (
        operator.code is Op.CONV_2D
        and operator.clamp == NO_CLAMP
        and attributes.kernel == (1, 1)
        and attributes.stride == (1, 1)
        and attributes.groups == 1
        and not any(attributes.pads)
        and conv.reads[0].dims[3] <= conv.writes.dims[3]
    )


def _averaged_first(roots: list[Tensor], conv: Node, pool: Node) -> list[Node]:
    batch, *_, channels = conv.reads[0].dims
    name = f"{pool.operator.name}.input"
    roots.append(Tensor(name, (batch, 1, 1, channels)))
    average = Box(len(roots) - 1, (0, 0, 0, 0), (batch, 1, 1, channels))
    averaging = replace(pool.operator, clamp=NO_CLAMP)
    applied = replace(conv.operator, name=pool.operator.name, clamp=pool.operator.clamp)
    return [
        replace(pool, operator=averaging, reads=conv.reads, writes=average),
        Node(applied, (average,), pool.writes, added=True),
    ]
