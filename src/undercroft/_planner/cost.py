# SPDX-License-Identifier: Apache-2.0
"""What an inference is expected to cost, in instructions of the device.

Instructions, because on the emulated board they are the clock that does not
jitter. The constants are measurements, not derived figures; `undercroft bench`
measures the real thing.
"""

from __future__ import annotations

from typing import Final

from undercroft import _spec
from undercroft._format.ops import OPS, Shapes
from undercroft._import.graph import Graph, Operator

__all__ = [
    "DECRYPT_INSTRUCTIONS_PER_BYTE",
    "MOVE_INSTRUCTIONS_PER_BYTE",
    "SWITCH_INSTRUCTIONS",
    "UNPACK_INSTRUCTIONS_PER_WEIGHT",
    "compute_instructions",
    "macs",
    "shapes_of",
    "switches",
]

# Checking and decrypting pages of 64 KiB, counted in user-mode emulation of a
# Cortex-A76 with the code of `engine/port/`: AES-256-GCM and ChaCha20-Poly1305
# around OpenSSL 3.5's assembly, AEGIS-128L in C (docs/kernels.md).
DECRYPT_INSTRUCTIONS_PER_BYTE: Final = {
    _spec.SUITE_AES_256_GCM: 3.26,
    _spec.SUITE_AEGIS_128L: 1.24,
    _spec.SUITE_CHACHA20_POLY1305: 10.4,
}
# A copy loop of 32 bytes with paired 16-byte loads and stores.
MOVE_INSTRUCTIONS_PER_BYTE: Final = 0.15
# One empty call into a Trusted Application of OP-TEE 4.5, counted on the
# emulated board: 59,800.
SWITCH_INSTRUCTIONS: Final = 60_000
# An int8 weight to f32, before it is multiplied: at every inference, wherever
# the weight lies. Counted in user-mode emulation: 1.06, and 1.1 to 1.2 with
# what it costs to compute in parts.
UNPACK_INSTRUCTIONS_PER_WEIGHT: Final = 1.15
# One push carries this many bytes of pages: what fits into the shared memory
# that the stock OP-TEE takes beside a 12 MiB Trusted Application.
PUSH_BYTES: Final = 2 << 20


def shapes_of(graph: Graph, operator: Operator) -> Shapes:
    """Return an operator as its rules (`undercroft._format.ops`) see it."""
    a, b = (*(graph.tensors[i].dims for i in operator.inputs), None, None)[:2]
    return Shapes(
        op=operator.attributes,
        a=a,
        b=b,
        out=graph.tensors[operator.output].dims,
        panel_bytes=operator.weights.panel_bytes if operator.weights else 0,
    )


def macs(graph: Graph, operator: Operator) -> int:
    """Return the multiply-accumulates of an operator, 0 where it has none."""
    return OPS[operator.code].macs(shapes_of(graph, operator))


def compute_instructions(graph: Graph, operator: Operator) -> int:
    """Return the expected instructions of an operator, without decryption."""
    count = OPS[operator.code].instructions(shapes_of(graph, operator))
    weights = operator.weights
    if weights is not None and weights.format != _spec.WEIGHTS_F32:
        count += weights.size_bytes * UNPACK_INSTRUCTIONS_PER_WEIGHT
    return round(count)


def switches(graph: Graph, streamed_bytes: int) -> int:
    """Return the expected calls into the secure world for an inference."""
    calls = 1
    for tensor in (*graph.inputs, *graph.outputs):
        calls += -(-graph.tensors[tensor].size_bytes // PUSH_BYTES)
    return calls + -(-streamed_bytes // PUSH_BYTES)
