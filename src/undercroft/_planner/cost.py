# SPDX-License-Identifier: Apache-2.0
"""What an inference is expected to cost, in instructions of the device.

Instructions, because on the emulated board they are the clock that does not
jitter. The constants are measurements, not derived figures; `undercroft bench`
measures the real thing.
"""

from __future__ import annotations

import math
from typing import Final

from undercroft._import.graph import Graph, Operator
from undercroft._spec import Op

__all__ = [
    "DECRYPT_INSTRUCTIONS_PER_BYTE",
    "MOVE_INSTRUCTIONS_PER_BYTE",
    "SWITCH_INSTRUCTIONS",
    "compute_instructions",
    "macs",
    "switches",
]

# AES-256-GCM of OpenSSL 3.5 with the Arm crypto extensions, 64 KiB messages,
# decrypt and verify, counted in user-mode emulation of a Cortex-A76: 3.24,
# and the copy out of shared memory.
DECRYPT_INSTRUCTIONS_PER_BYTE: Final = 3.3
# A copy loop of 32 bytes with paired 16-byte loads and stores.
MOVE_INSTRUCTIONS_PER_BYTE: Final = 0.15
# One empty call into a Trusted Application of OP-TEE 4.5, counted on the
# emulated board: 59,800.
SWITCH_INSTRUCTIONS: Final = 60_000
# f32 GEMM kernels with 4-lane fused multiply-add, counted on the emulated
# board: 3.2 to 3.3 multiply-accumulates an instruction; with edges, 3.
MACS_PER_INSTRUCTION: Final = 3.0
# Depthwise kernels reload their input: 3.6 M in 2.56 M instructions.
DEPTHWISE_MACS_PER_INSTRUCTION: Final = 1.4
# Loads, arithmetic and stores of 4 elements at a time.
ELEMENTWISE_INSTRUCTIONS_PER_ELEMENT: Final = 1.5
# One push carries this many bytes of pages: what fits into the shared memory
# that the stock OP-TEE takes beside a 12 MiB Trusted Application.
PUSH_BYTES: Final = 2 << 20


def macs(graph: Graph, operator: Operator) -> int:
    """Return the multiply-accumulates of an operator, 0 where it has none."""
    out = math.prod(graph.tensors[operator.output].dims)
    kernel = operator.attributes.kernel[0] * operator.attributes.kernel[1]
    if operator.code is Op.CONV_2D:
        cin = graph.tensors[operator.inputs[0]].dims[3]
        return out * kernel * cin // operator.attributes.groups
    if operator.code is Op.DEPTHWISE_CONV_2D:
        return out * kernel
    if operator.code is Op.FULLY_CONNECTED:
        return out * graph.tensors[operator.inputs[0]].dims[3]
    return 0


def compute_instructions(graph: Graph, operator: Operator) -> int:
    """Return the expected instructions of an operator, without decryption."""
    multiplications = macs(graph, operator)
    if operator.code is Op.DEPTHWISE_CONV_2D:
        return round(multiplications / DEPTHWISE_MACS_PER_INSTRUCTION)
    if multiplications:
        return round(multiplications / MACS_PER_INSTRUCTION)
    elements = math.prod(graph.tensors[operator.output].dims)
    taps = max(1, operator.attributes.kernel[0] * operator.attributes.kernel[1])
    if operator.code is Op.GLOBAL_AVERAGE_POOL:
        elements = math.prod(graph.tensors[operator.inputs[0]].dims)
    return round(elements * (ELEMENTWISE_INSTRUCTIONS_PER_ELEMENT + (taps - 1) / 4))


def switches(graph: Graph, streamed_bytes: int) -> int:
    """Return the expected calls into the secure world for an inference."""
    calls = 1
    for tensor in (*graph.inputs, *graph.outputs):
        calls += -(-graph.tensors[tensor].size_bytes // PUSH_BYTES)
    return calls + -(-streamed_bytes // PUSH_BYTES)
