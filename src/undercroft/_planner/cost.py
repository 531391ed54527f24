# SPDX-License-Identifier: Apache-2.0
"""What an inference is expected to cost, in instructions of the device.

Instructions, because on the emulated board they are the clock that does not
jitter. The constants are measurements, not derived figures; `undercroft bench`
measures the real thing.
"""

from __future__ import annotations

import math
from typing import Final

from undercroft import _spec
from undercroft._format.ops import OPS, Shapes
from undercroft._planner.network import Network, Node
from undercroft._spec import Op

__all__ = [
    "DECRYPT_INSTRUCTIONS_PER_BYTE",
    "MOVE_INSTRUCTIONS_PER_BYTE",
    "PAGE_INSTRUCTIONS",
    "RECORD_INSTRUCTIONS",
    "STREAM_INSTRUCTIONS_PER_BYTE",
    "SWITCH_INSTRUCTIONS",
    "UNPACK_INSTRUCTIONS_PER_WEIGHT",
    "compute_instructions",
    "decrypt_instructions",
    "macs",
    "switches",
]

# Checking and decrypting pages of 64 KiB, counted in user-mode emulation of a
# Cortex-A76 with the code of `engine/port/` (docs/kernels.md).
DECRYPT_INSTRUCTIONS_PER_BYTE: Final = {
    _spec.SUITE_AES_256_GCM: 2.35,
    _spec.SUITE_AEGIS_128L: 1.24,
    _spec.SUITE_CHACHA20_POLY1305: 10.4,
}
# A CLAMP of equal dimensions, counted in user-mode emulation: 0.159.
MOVE_INSTRUCTIONS_PER_BYTE: Final = 0.16
# What a page takes besides its bytes: nonce and tag, and looking where it goes. The
# ciphers alone, counted with pages of 16 and 64 KiB: 900 with AEGIS-128L, 2,500 with
# AES-256-GCM.
PAGE_INSTRUCTIONS: Final = 2_000
# One empty call into a Trusted Application of OP-TEE 4.5, counted on the
# emulated board: 59,800.
SWITCH_INSTRUCTIONS: Final = 60_000
# A sealed byte on its way from the file through shared memory into the window, and
# mapping that memory: how moving and switching of EfficientNet-Lite0 grow from 12 to
# 4 MiB, recorded on the emulated board (docs/benchmarks.md), less the calls.
STREAM_INSTRUCTIONS_PER_BYTE: Final = 0.31
# An int8 weight to f32, before it is multiplied: at every inference, wherever
# the weight lies. Counted in user-mode emulation: 1.06, and 1.1 to 1.2 with
# what it costs to compute in parts.
UNPACK_INSTRUCTIONS_PER_WEIGHT: Final = 1.15
# Decoding an op record and its tensors, and what a convolution prepares again
# for every band: 400 to 2,500 counted in user-mode emulation.
RECORD_INSTRUCTIONS: Final = 1_500
# One push carries this many bytes of pages: what fits into the shared memory
# that the stock OP-TEE takes beside a 12 MiB Trusted Application.
PUSH_BYTES: Final = 2 << 20


def _shapes(node: Node) -> Shapes:
    """Return a node as the rules of its operator see it."""
    a, b = (*(read.dims for read in node.reads), None, None)[:2]
    return Shapes(op=node.operator.attributes, a=a, b=b, out=node.writes.dims)


def macs(node: Node) -> int:
    """Return the multiply-accumulates of an operator, 0 where it has none."""
    code = node.operator.code
    return OPS[code].macs(_shapes(node)) if code in OPS else 0


def unpack_instructions(node: Node) -> float:
    """Return what it costs to make f32 of an operator's weights, once."""
    weights = node.operator.weights
    if weights is None or weights.format == _spec.WEIGHTS_F32:
        return 0.0
    return weights.size_bytes * UNPACK_INSTRUCTIONS_PER_WEIGHT


def compute_instructions(node: Node, share: float = 1.0, bands: int = 1) -> int:
    """Return the expected instructions of an operator, without decryption.

    Args:
        node: The operator.
        share: The part of its result that is computed; more than 1 where some
            of it is computed again.
        bands: In how many bands.
    """
    code = node.operator.code
    if code not in OPS:
        return 0
    if code is Op.CLAMP and node.added:
        size = 4 * math.prod(node.writes.dims)
        return round(share * size * MOVE_INSTRUCTIONS_PER_BYTE)
    return round(
        share * OPS[code].instructions(_shapes(node))
        + bands * unpack_instructions(node)
    )


def decrypt_instructions(suite: int) -> float:
    """Return what a streamed byte costs: fetched and decrypted."""
    return DECRYPT_INSTRUCTIONS_PER_BYTE[suite] + STREAM_INSTRUCTIONS_PER_BYTE


def switches(net: Network, streamed_bytes: int, spilled_bytes: int = 0) -> int:
    """Return the expected calls into the secure world for an inference."""
    calls = 1
    for root in (*net.inputs, *net.outputs):
        calls += -(-net.roots[root].size_bytes // PUSH_BYTES)
    calls += -(-streamed_bytes // PUSH_BYTES)
    return calls + 2 * -(-spilled_bytes // PUSH_BYTES)
