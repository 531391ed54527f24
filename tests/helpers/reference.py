# SPDX-License-Identifier: Apache-2.0
"""Executes a plan in NumPy, slowly and plainly, from its bytes.

Program, resident blob and stream are read as a device reads them: every tensor
lies in one arena at the offset that the program gives it, and every weight
comes out of its panel. Whatever the packing, the layout or the placement gets
wrong, the answer is wrong::

    outputs = run(plan, {"x": x})
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from undercroft import _spec
from undercroft._format.ops.convolution import depthwise_slots
from undercroft._format.program import OpRecord, Program, TensorRecord, decode
from undercroft._spec import NormalizeFunction, Op, ReduceFunction, UnaryFunction
from undercroft.plan import Plan

Array = npt.NDArray[np.float32]

LANES = _spec.PANEL_CHANNELS


def run(plan: Plan, inputs: Mapping[str, Array]) -> list[Array]:
    """Returns the outputs of one inference, in ONNX order and shape."""
    return Machine(plan).run(inputs)


class Machine:
    """A device that runs one plan; `run` any number of times.

    Args:
        plan: The plan; its bytes are taken out of it once.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.program: Program = decode(plan.program())
        self.spilled: dict[int, bytes] = {}
        self.stream = b"".join(plan.stream())
        assert len(self.stream) == plan.stream_bytes
        self.arena = np.full(plan.arena_bytes, 0xFF, np.uint8)  # NaN everywhere
        resident = b"".join(plan.resident())
        assert len(resident) == plan.resident_bytes
        start = self.program.resident_offset
        self.arena[start : start + len(resident)] = np.frombuffer(resident, np.uint8)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        for info, tensor in zip(self.plan.inputs, self.program.inputs, strict=True):
            record = self.program.tensors[tensor]
            values = np.asarray(inputs[info.name], np.float32)
            assert values.shape == info.shape
            if record.wire_layout == _spec.WIRE_NCHW:
                n, h, w, c = record.dims
                values = values.reshape(n, c, h, w).transpose(0, 2, 3, 1)
            self.view(record)[...] = values.reshape(record.dims)
        for index, op in enumerate(self.program.ops):
            self.step(index, op)
        outputs = []
        for info, tensor in zip(self.plan.outputs, self.program.outputs, strict=True):
            record = self.program.tensors[tensor]
            values = self.view(record)
            if record.wire_layout == _spec.WIRE_NCHW:
                values = values.transpose(0, 3, 1, 2)
            outputs.append(values.reshape(info.shape).copy())
        return outputs

    def view(self, record: TensorRecord) -> Array:
        if record.is_view:
            whole = self.view(self.program.tensors[record.parent])
            box = zip(record.origin, record.dims, strict=True)
            return whole[tuple(slice(at, at + size) for at, size in box)]
        end = record.offset + record.size_bytes
        return self.arena[record.offset : end].view(np.float32).reshape(record.dims)

    def step(self, index: int, op: OpRecord) -> None:
        tensors = self.program.tensors
        if op.code is Op.SPILL:
            self.spilled[op.spill_page] = self.view(tensors[op.input_a]).tobytes()
            return
        if op.code is Op.FILL:
            out = self.view(tensors[op.output])
            data = np.frombuffer(self.spilled[op.spill_page], np.float32)
            out[...] = data.reshape(out.shape)
            return
        a = None if op.input_a == _spec.NO_TENSOR else self.view(tensors[op.input_a])
        b = None if op.input_b == _spec.NO_TENSOR else self.view(tensors[op.input_b])
        out = self.view(tensors[op.output])
        result = _COMPUTE[op.code](op, a, b, out.shape, self.panels(op))
        assert result.shape == out.shape, (index, op)
        out[...] = np.clip(result, np.float32(op.act_min), np.float32(op.act_max))

    def panels(self, op: OpRecord) -> Array:
        """Returns all panels of an operator, one a row."""
        if not op.panel_count:
            return np.empty((0, 0), np.float32)
        if op.weights != _spec.NO_TENSOR:
            held = self.view(self.program.tensors[op.weights])
            return held.reshape(op.panel_count, -1).copy()
        start = self.program.resident_offset + op.resident_offset
        kept = self.arena[start : start + op.resident_panels * op.panel_bytes]
        streamed = self.stream[op.stream_offset : op.stream_offset + op.streamed_bytes]
        data = kept.tobytes() + (streamed if op.streamed_panels else b"")
        if op.weights_format == _spec.WEIGHTS_INT8:
            return _unpacked(np.frombuffer(data, "<i1").reshape(op.panel_count, -1))
        return np.frombuffer(data, "<f4").reshape(op.panel_count, -1)


def _unpacked(panels):
    """int8 panels as f32 panels, with the padding at their end as rows of zeros."""
    head = panels[:, :64].copy().view("<f4")
    rows = panels[:, 64:].reshape(len(panels), -1, LANES).astype(np.float32)
    bias, scale = head[:, :LANES], head[:, np.newaxis, LANES:]
    return np.concatenate([bias, (rows * scale).reshape(len(panels), -1)], axis=1)


def _without_padding(panels, rows):
    assert not panels[:, rows * LANES :].any(), "padding is not zero"
    return panels[:, : rows * LANES]


def _convolution(op, a, b, shape, panels):
    n, out_h, out_w, cout = shape
    kh, kw = op.kernel
    cin_g, cout_g = a.shape[3] // op.groups, cout // op.groups
    panels = _without_padding(panels, 1 + kh * kw * cin_g)
    rows = panels.reshape(op.groups, -1, 1 + kh * kw * cin_g, LANES)
    rows = rows.transpose(0, 2, 1, 3).reshape(op.groups, 1 + kh * kw * cin_g, -1)
    assert not rows[:, :, cout_g:].any(), "padding channels are not zero"
    bias, weights = rows[:, 0, :cout_g], rows[:, 1:, :cout_g]
    patches = _patches(op, a, (out_h, out_w), 0.0)  # n, oh, ow, kh*kw, c
    result = np.empty(shape, np.float32)
    for g in range(op.groups):
        part = patches[..., g * cin_g : (g + 1) * cin_g]
        part = part.reshape(n, out_h, out_w, kh * kw * cin_g)
        result[..., g * cout_g : (g + 1) * cout_g] = part @ weights[g] + bias[g]
    return result


def _depthwise(op, a, b, shape, panels):
    taps = op.kernel[0] * op.kernel[1]
    panels = _without_padding(panels, 1 + depthwise_slots(taps))
    rows = panels.reshape(-1, 1 + depthwise_slots(taps), LANES).transpose(1, 0, 2)
    rows = rows.reshape(1 + depthwise_slots(taps), -1)
    assert not rows[:, shape[3] :].any(), "padding channels are not zero"
    assert not rows[1 + taps :].any(), "padding slots are not zero"
    patches = _patches(op, a, shape[1:3], 0.0)
    weights = rows[1 : 1 + taps, : shape[3]]
    return np.einsum("nhwtc,tc->nhwc", patches, weights) + rows[0, : shape[3]]


def _fully_connected(op, a, b, shape, panels):
    panels = _without_padding(panels, 1 + a.shape[3])
    rows = panels.reshape(-1, 1 + a.shape[3], LANES).transpose(1, 0, 2)
    rows = rows.reshape(1 + a.shape[3], -1)
    assert not rows[:, shape[3] :].any(), "padding channels are not zero"
    return a @ rows[1:, : shape[3]] + rows[0, : shape[3]]


def _patches(op, a, size, padding):
    """Returns what each output position sees: n, oh, ow, taps, c."""
    # Pooling may round up: enough padding for the last window, whatever it is.
    need = [
        (size[axis] - 1) * op.stride[axis]
        + op.dilation[axis] * (op.kernel[axis] - 1)
        + 1
        for axis in (0, 1)
    ]
    grown = np.full(
        (
            a.shape[0],
            max(need[0], op.pads[0] + a.shape[1]),
            max(need[1], op.pads[1] + a.shape[2]),
            a.shape[3],
        ),
        padding,
        np.float32,
    )
    top, left = op.pads[:2]
    grown[:, top : top + a.shape[1], left : left + a.shape[2]] = a
    taps = []
    for i, j in itertools.product(range(op.kernel[0]), range(op.kernel[1])):
        y, x = i * op.dilation[0], j * op.dilation[1]
        taps.append(
            grown[
                :,
                y : y + (size[0] - 1) * op.stride[0] + 1 : op.stride[0],
                x : x + (size[1] - 1) * op.stride[1] + 1 : op.stride[1],
            ]
        )
    return np.stack(taps, axis=3)


def _max_pool(op, a, b, shape, panels):
    return _patches(op, a, shape[1:3], -np.inf).max(axis=3)


def _average_pool(op, a, b, shape, panels):
    total = _patches(op, a, shape[1:3], 0.0).sum(axis=3)
    if op.flags & _spec.OP_FLAG_COUNT_INCLUDE_PAD:
        return total / np.float32(op.kernel[0] * op.kernel[1])
    return total / _patches(op, np.ones_like(a), shape[1:3], 0.0).sum(axis=3)


def _global_average_pool(op, a, b, shape, panels):
    return a.mean(axis=(1, 2), keepdims=True, dtype=np.float32)


def _binary(function):
    def compute(op, a, b, shape, panels):
        other = np.float32(op.alpha) if b is None else b
        if op.flags & _spec.OP_FLAG_REVERSED:
            return function(other, a)
        return function(a, other)

    return compute


def _reduce(op, a, b, shape, panels):
    function = {
        ReduceFunction.SUM: np.sum,
        ReduceFunction.MEAN: np.mean,
        ReduceFunction.MAX: np.max,
        ReduceFunction.MIN: np.min,
        ReduceFunction.SUM_OF_SQUARES: lambda x, **how: np.sum(x * x, **how),
    }[ReduceFunction(op.function)]
    return function(a.astype(np.float64), axis=(1, 2), keepdims=True)


def _normalize(op, a, b, shape, panels):
    rows = panels.reshape(2, -1)
    assert not rows[:, shape[3] :].any(), "padding channels are not zero"
    factor, addend = rows[:, : shape[3]]
    axes = (3,) if op.function == NormalizeFunction.ROWS else (1, 2)
    wide = a.astype(np.float64)
    centred = wide - wide.mean(axis=axes, keepdims=True)
    variance = (centred**2).mean(axis=axes, keepdims=True)
    return centred / np.sqrt(variance + op.alpha) * factor + addend


def _local_response_norm(op, a, b, shape, panels):
    size = op.kernel[1]
    before = (size - 1) // 2
    squares = np.pad(a.astype(np.float64) ** 2, [(0, 0)] * 3 + [(before, size)])
    total = sum(squares[..., k : k + shape[3]] for k in range(size))
    return a * (1 + op.alpha * total) ** -op.beta


def _matrix_multiply(op, a, b, shape, panels):
    if op.flags & _spec.OP_FLAG_TRANSPOSED:
        b = b.swapaxes(2, 3)
    return a @ b


def _arg_max(op, a, b, shape, panels):
    return a.argmax(axis=3, keepdims=True).astype(np.float32)


def _softmax(op, a, b, shape, panels):
    if op.function == _spec.SOFTMAX_LOG:
        centred = a - a.max(axis=3, keepdims=True)
        return centred - np.log(np.exp(centred).sum(axis=3, keepdims=True))
    powers = np.exp(a - a.max(axis=3, keepdims=True))
    return powers / powers.sum(axis=3, keepdims=True)


def _hard_sigmoid(op, a, b, shape, panels):
    return np.clip(np.float32(op.alpha) * a + np.float32(op.beta), 0, 1)


def _hard_swish(op, a, b, shape, panels):
    return a * np.clip(a / np.float32(6) + np.float32(0.5), 0, 1)


def _unary(op, a, b, shape, panels):
    with np.errstate(all="ignore"):
        wide = UNARY[UnaryFunction(op.function)](a.astype(np.float64), op.alpha)
    return wide.astype(np.float32)


def _erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _gelu_tanh(x, _):
    return x * _sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


# Of x in double precision and alpha.
UNARY = {
    UnaryFunction.ABS: lambda x, _: np.abs(x),
    UnaryFunction.NEGATE: lambda x, _: -x,
    UnaryFunction.SQUARE: lambda x, _: x * x,
    UnaryFunction.SQUARE_ROOT: lambda x, _: np.sqrt(x),
    UnaryFunction.RECIPROCAL: lambda x, _: 1 / x,
    UnaryFunction.RECIPROCAL_SQUARE_ROOT: lambda x, _: 1 / np.sqrt(x),
    UnaryFunction.FLOOR: lambda x, _: np.floor(x),
    UnaryFunction.CEIL: lambda x, _: np.ceil(x),
    UnaryFunction.ROUND: lambda x, _: np.round(x),
    UnaryFunction.EXP: lambda x, _: np.exp(x),
    UnaryFunction.LOG: lambda x, _: np.log(x),
    UnaryFunction.POWER: lambda x, alpha: x**alpha,
    UnaryFunction.ERF: lambda x, _: _erf(x),
    UnaryFunction.SIGMOID: lambda x, _: _sigmoid(x),
    UnaryFunction.TANH: lambda x, _: np.tanh(x),
    UnaryFunction.SILU: lambda x, _: x * _sigmoid(x),
    UnaryFunction.GELU: lambda x, _: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    UnaryFunction.GELU_TANH: _gelu_tanh,
    UnaryFunction.MISH: lambda x, _: x * np.tanh(np.logaddexp(0, x)),
    UnaryFunction.SOFTPLUS: lambda x, _: np.logaddexp(0, x),
    UnaryFunction.LEAKY_RELU: lambda x, alpha: np.where(x < 0, alpha * x, x),
    UnaryFunction.ELU: lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x),
}


def _constant(op, a, b, shape, panels):
    size = int(np.prod(shape))
    assert not panels.reshape(-1)[size:].any(), "padding is not zero"
    return panels.reshape(-1)[:size].reshape(shape)


def _gather(op, a, b, shape, panels):
    words = panels.view(np.uint32).reshape(-1)
    result = a
    for axis, size in enumerate(shape):
        table, words = words[:size].astype(np.int64), words[size:]
        filled = np.full_like(result.take([0], axis), op.alpha)
        grown = np.concatenate([result, filled], axis)
        inside = table < result.shape[axis]
        result = grown.take(np.where(inside, table, result.shape[axis]), axis)
    assert not words.any(), "padding is not zero"
    return result


def _resize_linear(op, a, b, shape, panels):
    words = panels.view(np.uint32).reshape(-1)
    outside = np.zeros((1, shape[1], shape[2], 1), bool)
    result = a
    for axis in (1, 2):
        size = shape[axis]
        low, high = words[: 2 * size].reshape(2, size).astype(np.int64)
        weight = words[2 * size : 3 * size].view(np.float32)
        words = words[3 * size :]
        place = [size if other == axis else 1 for other in range(4)]
        last = result.shape[axis] - 1
        outside |= ((low > last) | (high > last)).reshape(place)
        one = result.take(np.minimum(low, last), axis)
        other = result.take(np.minimum(high, last), axis)
        result = one + (other - one) * weight.reshape(place)
    assert not words.any(), "padding is not zero"
    return np.where(outside, np.float32(op.alpha), result)


_COMPUTE = {
    Op.CONV_2D: _convolution,
    Op.DEPTHWISE_CONV_2D: _depthwise,
    Op.FULLY_CONNECTED: _fully_connected,
    Op.ADD: _binary(np.add),
    Op.SUB: _binary(np.subtract),
    Op.MUL: _binary(np.multiply),
    Op.DIV: _binary(np.divide),
    Op.CLAMP: lambda op, a, b, shape, panels: a.reshape(shape).copy(),
    Op.HARD_SIGMOID: _hard_sigmoid,
    Op.HARD_SWISH: _hard_swish,
    Op.MAX_POOL_2D: _max_pool,
    Op.AVERAGE_POOL_2D: _average_pool,
    Op.GLOBAL_AVERAGE_POOL: _global_average_pool,
    Op.SOFTMAX: _softmax,
    Op.TRANSPOSE: lambda op, a, b, shape, panels: a.transpose(op.permutation),
    Op.CONSTANT: _constant,
    Op.UNARY: _unary,
    Op.REDUCE: _reduce,
    Op.ARG_MAX: _arg_max,
    Op.NORMALIZE: _normalize,
    Op.LOCAL_RESPONSE_NORM: _local_response_norm,
    Op.MATRIX_MULTIPLY: _matrix_multiply,
    Op.MINIMUM: _binary(np.minimum),
    Op.MAXIMUM: _binary(np.maximum),
    Op.PRELU: _binary(lambda x, slope: np.where(x < 0, x * slope, x)),
    Op.POWER: _binary(np.power),
    Op.GATHER: _gather,
    Op.RESIZE_LINEAR: _resize_linear,
}
