# SPDX-License-Identifier: Apache-2.0
"""Who writes what in a program, when, and what may share bytes.

The same rules as `engine/src/program_life.c`: memory belongs to roots, a view is
a box of elements of its root; all that is read was written before, no element is
written twice, and roots that share bytes live at different times.
"""

from __future__ import annotations

from collections.abc import Iterator

from undercroft import _spec
from undercroft._format.program import (
    DTYPE_BYTES,
    Dims,
    OpRecord,
    Program,
    TensorRecord,
)
from undercroft.errors import FormatError

__all__ = ["check_lives", "check_sharing", "check_views", "operands", "strides"]

Box = tuple[tuple[int, int], ...]
"""[from, to) along n, h, w, c of a root."""


def check_views(program: Program) -> None:
    """Check that roots come before their views and views lie inside roots.

    Raises:
        FormatError: A view that is no box of its root, or out of place.
    """
    boundary = {*program.inputs, *program.outputs}
    for index, tensor in enumerate(program.tensors):
        where = f"tensor {index}"
        if not tensor.is_view:
            _expect(not any(tensor.origin), f"{where}: a root with an origin")
            continue
        _expect(tensor.parent < index, f"{where}: its root does not come before it")
        _expect(index not in boundary, f"{where}: a view as input or output")
        root = program.tensors[tensor.parent]
        _expect(
            not root.is_view and root.dtype == tensor.dtype,
            f"{where}: tensor {tensor.parent} cannot be its root",
        )
        _expect(
            tensor.parent == index - 1
            or program.tensors[index - 1].parent == tensor.parent,
            f"{where}: it does not follow its root and that one's other views",
        )
        _expect(
            all(
                begin + size <= whole
                for begin, size, whole in zip(
                    tensor.origin, tensor.dims, root.dims, strict=True
                )
            ),
            f"{where}: it is not inside its root",
        )
        steps = zip(tensor.origin, strides(root.dims), strict=True)
        offset = root.offset + DTYPE_BYTES[root.dtype] * sum(
            begin * step for begin, step in steps
        )
        _expect(tensor.offset == offset, f"{where}: offset {tensor.offset}")


def check_lives(program: Program) -> None:
    """Check live ranges, and that what is read was written, once.

    Raises:
        FormatError: A live range that is not exact, an element that is read
            before it is written, or written twice.
    """
    tensors = program.tensors
    count = len(tensors)
    first: dict[int, int] = dict.fromkeys(program.inputs, _spec.NO_OP)
    last: dict[int, int] = {}
    read: set[int] = set()
    written: dict[int, list[Box]] = {
        root: [_box(tensors[root])] for root in program.inputs
    }
    for index, op in enumerate(program.ops):
        for operand in operands(op):
            _expect(operand < count, f"operator {index}: it has no tensor {operand}")
            root = _root(program, operand)
            box = _box(tensors[operand])
            covered = sum(_common(box, other) for other in written.get(root, ()))
            _expect(
                covered == tensors[operand].element_count,
                f"operator {index}: it reads tensor {operand} before it is written",
            )
            last[operand] = last[root] = index
            read |= {operand, root}
        if op.output == _spec.NO_TENSOR:
            continue
        _expect(op.output < count, f"operator {index}: it has no output tensor")
        root = _root(program, op.output)
        box = _box(tensors[op.output])
        _expect(
            not any(_common(box, other) for other in written.get(root, ())),
            f"operator {index}: it writes what was written of tensor {op.output}",
        )
        written.setdefault(root, []).append(box)
        first[op.output] = index
        first.setdefault(root, index)
        last[op.output] = last[root] = index
    for output in program.outputs:
        boxes = written.get(output, [])
        _expect(
            sum(_common(_box(tensors[output]), box) for box in boxes)
            == tensors[output].element_count,
            f"tensor {output}: an output that is not wholly written",
        )
        last[output] = len(program.ops)
        read.add(output)
    for index, tensor in enumerate(tensors):
        where = f"tensor {index}"
        if tensor.is_view:
            first.setdefault(index, _spec.NO_OP)
            _expect(index in last, f"{where}: nothing uses it")
        else:
            _expect(index in first, f"{where}: nothing writes it")
            _expect(index in read, f"{where}: nothing reads it")
            reader = last[index]
            _expect(
                reader == len(program.ops)
                or any(
                    _root(program, operand) == index
                    for operand in operands(program.ops[reader])
                ),
                f"{where}: it is written after it was last read",
            )
        _expect(tensor.first_op == first[index], f"{where}: first_op is wrong")
        _expect(tensor.last_op == last[index], f"{where}: last_op is wrong")


def check_sharing(program: Program, in_place: set[tuple[int, int]]) -> None:
    """Check that roots which live at once do not share bytes.

    Args:
        program: The program.
        in_place: Pairs of an output and the operand that it may overwrite.

    Raises:
        FormatError: Two roots share bytes while both live.
    """
    spans = sorted(
        (tensor.offset, tensor.offset + tensor.size_bytes, index)
        for index, tensor in enumerate(program.tensors)
        if not tensor.is_view
    )
    for position, (_, end, one) in enumerate(spans):
        for start, _, other in spans[position + 1 :]:
            if start >= end:
                break
            if not _meet(program.tensors[one], program.tensors[other]):
                continue
            same_offset = program.tensors[one].offset == program.tensors[other].offset
            _expect(
                same_offset and ((one, other) in in_place or (other, one) in in_place),
                f"tensors {one} and {other} share bytes while both live",
            )


def strides(dims: Dims) -> Dims:
    """Return the elements from one n, h, w, c of a root to the next."""
    _, h, w, c = dims
    return h * w * c, w * c, c, 1


def operands(op: OpRecord) -> Iterator[int]:
    """Yield the tensors that an op reads."""
    for operand in (op.input_a, op.input_b, op.weights):
        if operand != _spec.NO_TENSOR:
            yield operand


def _meet(one: TensorRecord, other: TensorRecord) -> bool:
    def first(tensor: TensorRecord) -> int:
        return -1 if tensor.first_op == _spec.NO_OP else tensor.first_op

    return first(one) <= other.last_op and first(other) <= one.last_op


def _root(program: Program, index: int) -> int:
    tensor = program.tensors[index]
    return tensor.parent if tensor.is_view else index


def _box(tensor: TensorRecord) -> Box:
    return tuple(
        (begin, begin + size)
        for begin, size in zip(tensor.origin, tensor.dims, strict=True)
    )


def _common(one: Box, other: Box) -> int:
    count = 1
    for (a, b), (c, d) in zip(one, other, strict=True):
        count *= max(0, min(b, d) - max(a, c))
    return count


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise FormatError(f"the program is not valid: {otherwise}")
