# SPDX-License-Identifier: Apache-2.0
"""Runs single operators of the engine, on this machine and as arm64 code.

The other end of ``tests/engine/ops/runner.c``. A runner is a process that lives
as long as the tests and is started again when an operator kills it.
"""

from __future__ import annotations

import platform
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from undercroft import _spec as spec
from undercroft._build import BUILD, ROOT
from undercroft._debian import packages_dir
from undercroft._format.ops import OPS, Views
from undercroft._host import require_tools

Array = npt.NDArray[np.float32]
Dims = tuple[int, int, int, int]

INF = float("inf")
CHECK_ONLY, SEPARATE, OVER_A, OVER_B = range(4)

_MAGIC = 0x5550434F
_REQUEST = struct.Struct("<4I12I2I4f10II4I3I3I3f3i5I")
_ANSWER = struct.Struct("<5Q")
# Gaps along axes (bits of runner.c: 1 c, 2 h, 4 w, 8 n), and what an operator
# must support to have them: channels alone leave pixels evenly spaced.
_GAPS = {1: Views.EVEN, 2: Views.ANY, 4: Views.ANY, 15: Views.ANY}
_REFUSED, _DONE, _BAD_WEIGHTS, _WROTE_OUTSIDE = range(4)


@dataclass(frozen=True)
class Quant:
    """How a tensor stores numbers: as f32, or in 8 bits with a scale."""

    scale: float = 0.0
    zero: int = 0
    dtype: int = spec.DTYPE_S8

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type of its elements."""
        return np.dtype("<f4" if self.dtype == spec.DTYPE_F32 else "i1")


F32 = Quant(dtype=spec.DTYPE_F32)


@dataclass(frozen=True)
class Op:
    """One operator with its shapes, as in the program's op record."""

    code: int
    a: Dims | None
    out: Dims
    b: Dims | None = None
    flags: int = 0
    act: tuple[float, float] = (-INF, INF)
    alpha: float = 0.0
    beta: float = 0.0
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    permutation: tuple[int, int, int, int] = (0, 1, 2, 3)
    function: int = 0
    panel_bytes: int = 0
    weights_format: int = spec.WEIGHTS_F32
    a_quant: Quant = F32
    b_quant: Quant = F32
    out_quant: Quant = F32


@dataclass(frozen=True)
class Sizes:
    """What an operator's callbacks said, in bytes."""

    panel_bytes: int
    panel_count: int
    scratch_bytes: int


@dataclass(frozen=True)
class Variant:
    """A build of the runner."""

    name: str
    kernels: str
    arch: str
    compiler: str
    variables: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = ()


_HOST_KERNELS = "sse" if platform.machine() == "x86_64" else "neon_a73"
_HOST_ARCH = "amd64" if platform.machine() == "x86_64" else "arm64"
_ARM_FLAGS = {"ARCH_FLAGS": "-mno-strict-align", "LINK_FLAGS": "-static"}
_EMULATOR = ("qemu-aarch64", "-cpu", "cortex-a76")
VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            "host-asan",
            _HOST_KERNELS,
            _HOST_ARCH,
            "gcc",
            {"SANITIZE": "-fsanitize=address,undefined -fno-sanitize-recover=all"},
        ),
        Variant(
            "arm64-a73",
            "neon_a73",
            "arm64",
            "aarch64-linux-gnu-gcc",
            _ARM_FLAGS,
            _EMULATOR,
        ),
        Variant(
            "arm64-a76",
            "neon_a76",
            "arm64",
            "aarch64-linux-gnu-gcc",
            _ARM_FLAGS,
            _EMULATOR,
        ),
        Variant(
            "arm64-ld128",
            "neon_ld128",
            "arm64",
            "aarch64-linux-gnu-gcc",
            _ARM_FLAGS,
            _EMULATOR,
        ),
    )
}


def build_runner(variant: Variant) -> Path:
    """Compile the runner, unless it is up to date."""
    require_tools(("make", variant.compiler), purpose="build the operator runner")
    if variant.command:
        require_tools(variant.command[:1], purpose="run arm64 code")
    triplet = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[variant.arch]
    out = BUILD / "tests" / "ops" / variant.name
    library = packages_dir(variant.arch, ["libxnnpack-dev"]) / "usr/lib" / triplet
    settings = {
        "KERNELS": variant.kernels,
        "XNNPACK_DIR": str(library),
        "OUT": str(out),
        "CC": variant.compiler,
        **variant.variables,
    }
    subprocess.run(
        ["make", "-s", *(f"{name}={value}" for name, value in settings.items())],
        cwd=ROOT / "tests" / "engine" / "ops",
        check=True,
    )
    return out / "runner"


class OpError(AssertionError):
    """The engine did something that an operator must never do."""


class RefusedError(Exception):
    """The operator's check refused the shapes or attributes."""


class Runner:
    """One build of the operators, in a process of its own."""

    def __init__(
        self, variant: Variant, *, prefix: Sequence[str] = (), views: bool = True
    ) -> None:
        """Start nothing yet.

        Args:
            variant: Which build.
            prefix: What runs the runner, instead of the variant's emulator.
            views: Whether `run` also compares with operands that have gaps.
        """
        self.variant = variant
        self._views = views
        binary = build_runner(variant)
        self._command = [*prefix, *(() if prefix else variant.command), str(binary)]
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (as long as we live)

    def close(self) -> bytes:
        """End the process; return what it wrote on standard error."""
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(60)
            self._process = None
        self._errors.seek(0)
        return self._errors.read()

    def check(self, op: Op) -> Sizes:
        """Ask only the operator's callbacks.

        Raises:
            RefusedError: The check refused.
        """
        return self._ask(op, CHECK_ONLY, [], [], 0)[0]

    def run(
        self,
        op: Op,
        a: Array | None = None,
        b: Array | None = None,
        weights: bytes = b"",
        *,
        steps: Sequence[int] | None = None,
        mode: int = SEPARATE,
        repeat: int = 1,
    ) -> Array:
        """Run one operator.

        Args:
            op: Shapes and attributes.
            a: First input, NHWC.
            b: Second input.
            weights: The panels, packed.
            steps: Panels in each step; all of them in one when ``None``.
            mode: Where the output lies: ``SEPARATE``, ``OVER_A`` or ``OVER_B``.
            repeat: How often it runs.

        Returns:
            The output, NHWC.

        Raises:
            RefusedError: The check refused.
            OpError: A write outside the output, a crash, wrong sizes.
        """
        for dims, data in ((op.a, a), (op.b, b)):
            assert (dims is None) == (data is None)
            assert data is None or data.size == np.prod(dims)
        if steps is None:
            steps = [self.check(op).panel_count] if weights else []
        if self._views and mode == SEPARATE:
            self._compare_views(op, a, b, weights, steps)
        return self._run(op, a, b, weights, steps, mode=mode, repeat=repeat)

    def _compare_views(
        self,
        op: Op,
        a: Array | None,
        b: Array | None,
        weights: bytes,
        steps: Sequence[int],
    ) -> None:
        """Run the operator on views as well, where it says that it can.

        Raises:
            OpError: Another result than without gaps, or a write into a gap.
        """
        rules = OPS[spec.Op(op.code)]
        if op.a is None or (rules.code is spec.Op.CLAMP and op.a != op.out):
            return
        plain: Array | None = None
        for axes, needed in _GAPS.items():
            gaps = axes if rules.input_views >= needed else 0
            out_gaps = axes if rules.output_views >= needed else 0
            if not gaps | out_gaps:
                continue
            if plain is None:
                plain = self._run(op, a, b, weights, steps)
            got = self._run(op, a, b, weights, steps, gaps=(gaps, out_gaps))
            if not np.isfinite(plain).all():
                continue
            # Means of rows are added up in another order.
            largest = float(np.abs(plain).max(initial=0))
            if not np.allclose(got, plain, rtol=0, atol=1e-6 * largest):
                raise OpError(f"another result with gaps {gaps}, {out_gaps}: {op}")

    def _run(
        self,
        op: Op,
        a: Array | None,
        b: Array | None,
        weights: bytes,
        steps: Sequence[int],
        *,
        mode: int = SEPARATE,
        repeat: int = 1,
        gaps: tuple[int, int] = (0, 0),
    ) -> Array:
        data = [np.asarray(steps, "<u4").tobytes()]
        for x, quant in ((a, op.a_quant), (b, op.b_quant)):
            if x is not None:
                data.append(np.asarray(x, quant.numpy).tobytes())
        data.append(weights)
        _, out = self._ask(op, mode, steps, data, len(weights), repeat, gaps)
        return np.frombuffer(out, op.out_quant.numpy).reshape(op.out)

    def _ask(
        self,
        op: Op,
        mode: int,
        steps: Sequence[int],
        data: list[bytes],
        weights_bytes: int,
        repeat: int = 1,
        gaps: tuple[int, int] = (0, 0),
    ) -> tuple[Sizes, bytes]:
        quants = (op.a_quant, op.b_quant, op.out_quant)
        head = _REQUEST.pack(
            _MAGIC,
            mode,
            op.a is not None,
            op.b is not None,
            *(op.a or (0, 0, 0, 0)),
            *(op.b or (0, 0, 0, 0)),
            *op.out,
            op.code,
            op.flags,
            *op.act,
            op.alpha,
            op.beta,
            *op.kernel,
            *op.stride,
            *op.dilation,
            *op.pads,
            op.groups,
            *op.permutation,
            op.function,
            op.panel_bytes,
            op.weights_format,
            *(quant.dtype for quant in quants),
            *(quant.scale for quant in quants),
            *(quant.zero for quant in quants),
            weights_bytes,
            len(steps),
            repeat,
            *gaps,
        )
        answer, *sizes, out_bytes = _ANSWER.unpack(
            self._exchange(head + b"".join(data), _ANSWER.size)
        )
        out = self._read(out_bytes)
        if answer == _REFUSED:
            if mode != CHECK_ONLY:
                # The data is still in the pipe.
                self.close()
            raise RefusedError
        if answer == _BAD_WEIGHTS:
            raise OpError(f"the operator wants {sizes[0]} x {sizes[1]} bytes of panels")
        if answer == _WROTE_OUTSIDE:
            raise OpError("something was written outside output and scratch")
        assert answer == _DONE
        return Sizes(*sizes), out

    def _exchange(self, request: bytes, size: int) -> bytes:
        if self._process is None:
            self._errors.truncate(0)
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        assert self._process.stdin
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
        except BrokenPipeError:
            self._died()
        return self._read(size)

    def _read(self, size: int) -> bytes:
        assert self._process
        assert self._process.stdout
        data = self._process.stdout.read(size)
        if len(data) != size:
            self._died()
        return data

    def _died(self) -> None:
        assert self._process
        self._process.kill()
        code = self._process.wait()
        self._process = None
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        raise OpError(f"the runner died ({code}):\n{text[-4000:]}")


def pack_conv(weight: Array, bias: Array | None, groups: int = 1) -> bytes:
    """Pack ONNX convolution weights ``(cout, cin/groups, kh, kw)``."""
    cout, cin_g, kh, kw = weight.shape
    cout_g = cout // groups
    panels = -(-cout_g // spec.PANEL_CHANNELS)
    full = np.zeros((groups, panels * 8, 1 + kh * kw * cin_g), np.float32)
    if bias is not None:
        full[:, :cout_g, 0] = bias.reshape(groups, cout_g)
    taps = weight.transpose(0, 2, 3, 1).reshape(groups, cout_g, -1)
    full[:, :cout_g, 1:] = taps
    return full.reshape(groups * panels, 8, -1).transpose(0, 2, 1).tobytes()


def pack_depthwise(weight: Array, bias: Array | None) -> bytes:
    """Pack ONNX depthwise weights ``(c, 1, kh, kw)``."""
    channels, _, kh, kw = weight.shape
    slots = next(slots for slots in (3, 4, 9, 25, 49) if kh * kw <= slots)
    panels = -(-channels // spec.PANEL_CHANNELS)
    full = np.zeros((panels * 8, 1 + slots), np.float32)
    if bias is not None:
        full[:channels, 0] = bias
    full[:channels, 1 : 1 + kh * kw] = weight.reshape(channels, -1)
    return full.reshape(panels, 8, -1).transpose(0, 2, 1).tobytes()


def pack_dense(weight: Array, bias: Array | None) -> bytes:
    """Pack a matrix ``(cin, cout)``."""
    return pack_conv(np.ascontiguousarray(weight.T)[:, :, None, None], bias)


def int8_panels(panels: bytes, panel_bytes: int) -> tuple[bytes, bytes]:
    """Quantise f32 panels, element by element as the specification says.

    Args:
        panels: Whole f32 panels.
        panel_bytes: Bytes of one of them.

    Returns:
        The int8 panels, and the f32 panels that they stand for.
    """
    stored, meant = [], []
    for at in range(0, len(panels), panel_bytes):
        panel = np.frombuffer(panels[at : at + panel_bytes], "<f4").reshape(-1, 8)
        bias, rows = panel[0], panel[1:]
        scale = np.abs(rows).max(axis=0) / np.float32(127)
        safe = np.where(scale == 0, np.float32(1), scale)
        quantised = np.rint(rows / safe).clip(-127, 127).astype(np.int8)
        body = quantised.tobytes()
        body += bytes(-len(body) % 32)
        stored.append(bias.tobytes() + scale.astype("<f4").tobytes() + body)
        meant.append(bias.tobytes() + (quantised.astype(np.float32) * scale).tobytes())
    return b"".join(stored), b"".join(meant)


def pack_conv_s8(
    weight: npt.NDArray[np.int8],
    bias: npt.NDArray[np.int32],
    multiplier: Array,
    groups: int = 1,
) -> bytes:
    """Pack ONNX convolution weights ``(cout, cin/groups, kh, kw)`` of 8 bits."""
    cout, cin_g, kh, kw = weight.shape
    cout_g = cout // groups
    panels = -(-cout_g // 8)
    k = kh * kw * cin_g
    blocks = -(-k // 4)
    rows = np.zeros((groups, panels * 8, blocks * 4), np.int8)
    rows[:, :cout_g, :k] = weight.transpose(0, 2, 3, 1).reshape(groups, cout_g, -1)
    heads = np.zeros((2, groups, panels * 8), "<u4")
    heads[0, :, :cout_g] = bias.astype("<i4").view("<u4").reshape(groups, cout_g)
    heads[1, :, :cout_g] = multiplier.astype("<f4").view("<u4").reshape(groups, cout_g)
    out = []
    for group in range(groups):
        for panel in range(panels):
            lanes = slice(8 * panel, 8 * panel + 8)
            out += [heads[0, group, lanes].tobytes(), heads[1, group, lanes].tobytes()]
            body = rows[group, lanes].reshape(8, blocks, 4).transpose(1, 0, 2)
            out.append(body.tobytes())
    return b"".join(out)


def pack_depthwise_s8(
    weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int32], multiplier: Array
) -> bytes:
    """Pack ONNX depthwise weights ``(c, 1, kh, kw)`` of 8 bits."""
    channels, _, kh, kw = weight.shape
    out = []
    for first in range(0, channels, 8):
        lanes = min(8, channels - first)
        panel = bytearray(64 + -(-8 * kh * kw // 32) * 32)
        panel[: 4 * lanes] = bias[first : first + lanes].astype("<i4").tobytes()
        panel[32 : 32 + 4 * lanes] = (
            multiplier[first : first + lanes].astype("<f4").tobytes()
        )
        body = np.zeros((kh * kw, 8), np.int8)
        body[:, :lanes] = weight[first : first + lanes].reshape(lanes, -1).T
        panel[64 : 64 + body.size] = body.tobytes()
        out.append(bytes(panel))
    return b"".join(out)
