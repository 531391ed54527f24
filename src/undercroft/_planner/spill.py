# SPDX-License-Identifier: Apache-2.0
"""Activations that leave the secure world for a while: the last resort.

A tensor that nothing needs for a while is handed out, encrypted, and taken back
before it is read again. In the network that is a SPILL, which reads the tensor
and writes a *ticket*, and a FILL, which reads the ticket and writes the tensor
anew; the ticket stands for the pages outside and has no memory that counts.
"""

from __future__ import annotations

from dataclasses import replace

from undercroft._import.graph import Operator, Tensor
from undercroft._planner.network import Box, Network, Node
from undercroft._spec import Op

__all__ = ["spilled", "uses"]


def uses(net: Network, root: int) -> list[int]:
    """Return the nodes that read or write a root, in order."""
    return [
        position
        for position, node in enumerate(net.nodes)
        if any(box.root == root for box in (*node.reads, node.writes))
    ]


def spilled(net: Network, root: int, start: int, stop: int) -> Network | None:
    """Return the network with a root outside while some nodes run.

    Args:
        net: The network, in its order of execution.
        root: What leaves.
        start: The first node during which it need not be there.
        stop: The node after the last.

    Returns:
        None when it is needed there, or is an output.
    """
    needed = uses(net, root)
    before = [p for p in needed if p < start]
    after = [p for p in needed if p >= stop]
    if any(
        net.nodes[p].operator.code is Op.SPILL and net.nodes[p].writes.root == root
        for p in before
    ):
        return None
    if root in net.outputs or not after or len(before) + len(after) < len(needed):
        return None
    if not before and root not in net.inputs:
        return None
    if any(net.nodes[p].writes.root == root for p in after):
        return None
    leaves = before[-1] + 1 if before else 0
    returns = after[0]
    name = net.roots[root].name
    ticket = Box(len(net.roots), (0, 0, 0, 0), (1, 1, 1, 1))
    again = Box(len(net.roots) + 1, (0, 0, 0, 0), net.roots[root].dims)
    roots = (
        *net.roots,
        Tensor(f"{name}.ticket", ticket.dims),
        Tensor(
            f"{name}.again",
            again.dims,
            quantisation=net.roots[root].quantisation,
        ),
    )
    out = Node(
        Operator(f"{name}.spill", Op.SPILL, (), 0),
        (net.whole(root),),
        ticket,
        added=True,
    )
    back = Node(Operator(f"{name}.fill", Op.FILL, (), 0), (ticket,), again, added=True)

    def moved(box: Box) -> Box:
        return box.inside(again) if box.root == root else box

    nodes = (
        *net.nodes[:leaves],
        out,
        *net.nodes[leaves:returns],
        back,
        *(
            replace(node, reads=tuple(moved(box) for box in node.reads))
            for node in net.nodes[returns:]
        ),
    )
    return replace(net, roots=roots, nodes=nodes)
