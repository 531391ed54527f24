# SPDX-License-Identifier: Apache-2.0
"""A `libteec` that is a Python object, and what a Trusted Application sees of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from undercroft._device.teec import Origin, ParamType, Result, TeecOperation

PARTIAL = 0xC
"""The bits of the types that lie in registered memory."""

Handler = Callable[[int, TeecOperation], tuple[int, int]]


class FakeTeec:
    """What `libteec` does, as far as the device asks for it."""

    def __init__(self) -> None:
        self.context_result = 0
        self.session_result: tuple[int, int] = (0, Origin.TRUSTED_APPLICATION)
        self.register_result = 0
        self.handler: Handler = lambda _command, _operation: (0, 0)
        self.calls: list[str] = []
        self.room_bytes: int | None = None
        self.registered: dict[int, int] = {}
        self.uuid = b""

    def _note(self, name: str) -> None:
        self.calls.append(name)

    def TEEC_InitializeContext(self, _name: Any, _context: Any) -> int:  # noqa: N802
        self._note("init")
        return self.context_result

    def TEEC_FinalizeContext(self, _context: Any) -> None:  # noqa: N802
        self._note("finalize")

    def TEEC_OpenSession(  # noqa: N802
        self, _context: Any, _session: Any, uuid: Any, *rest: Any
    ) -> int:
        self._note("open")
        self.uuid = bytes(uuid._obj)
        rest[-1]._obj.value = self.session_result[1]
        return self.session_result[0]

    def TEEC_CloseSession(self, _session: Any) -> None:  # noqa: N802
        self._note("close")

    def TEEC_InvokeCommand(  # noqa: N802
        self, _session: Any, command: int, operation: Any, origin: Any
    ) -> int:
        for index, kind in enumerate(types_of(operation._obj)):
            if kind & PARTIAL == PARTIAL:
                shared = operation._obj.params[index].memref.parent.contents
                assert shared.id in self.registered, "memory that is not shared"
        result, origin._obj.value = self.handler(command, operation._obj)
        return result

    def TEEC_RegisterSharedMemory(self, _context: Any, memory: Any) -> int:  # noqa: N802
        self._note("register")
        shared = memory.contents
        taken = sum(self.registered.values())
        if self.room_bytes is not None and taken + shared.size > self.room_bytes:
            return Result.GENERIC
        if self.register_result == Result.SUCCESS:
            shared.id = len(self.calls)
            self.registered[shared.id] = shared.size
        return self.register_result

    def TEEC_ReleaseSharedMemory(self, memory: Any) -> None:  # noqa: N802
        self._note("release")
        del self.registered[memory.contents.id]


def types_of(operation: TeecOperation) -> list[ParamType]:
    return [ParamType(operation.param_types >> (4 * index) & 15) for index in range(4)]


def read(operation: TeecOperation, index: int) -> bytes:
    """What the Trusted Application would see of a memory reference."""
    kind = types_of(operation)[index]
    if kind in (ParamType.MEMREF_TEMP_INPUT, ParamType.MEMREF_TEMP_OUTPUT):
        reference = operation.params[index].tmpref
        return ctypes.string_at(reference.buffer, reference.size)
    reference = operation.params[index].memref
    base = reference.parent.contents.buffer
    assert reference.offset + reference.size <= reference.parent.contents.size
    return ctypes.string_at(base + reference.offset, reference.size)


def write(operation: TeecOperation, index: int, data: bytes) -> None:
    kind = types_of(operation)[index]
    if kind is ParamType.MEMREF_TEMP_OUTPUT:
        reference = operation.params[index].tmpref
        ctypes.memmove(reference.buffer, data, len(data))
    else:
        reference = operation.params[index].memref
        base = reference.parent.contents.buffer
        ctypes.memmove(base + reference.offset, data, len(data))
    reference.size = len(data)
