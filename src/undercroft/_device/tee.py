# SPDX-License-Identifier: Apache-2.0
"""The `tee:` device: the Trusted Application in this very machine's OP-TEE.

Works over `libteec` with the standard library alone, so that it runs in the
board's guest. A session has one piece of shared memory, which pages are copied into
from the file, and, as far as there is room for them, pieces that keep the pages of
every inference: those are copied once, when the model is opened.
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs
from uuid import UUID

from undercroft._device import teec
from undercroft._device.invoker import PARAMETERS, BytesLike, Param, Reply
from undercroft._device.local import LocalDevice
from undercroft._device.shared import (
    KeptPages,
    SharedMemory,
    available_bytes,
    private_memory,
)
from undercroft._device.sizes import parse_size
from undercroft._device.teec import ParamType, TeecOperation
from undercroft._spec import Command
from undercroft.errors import DeviceError, DeviceLostError

if TYPE_CHECKING:
    import mmap

    from undercroft._device.parcel import PageFile

TA_UUID: Final = UUID("8ad4c6e2-9f6b-4c0e-b1a7-5d3b0f7c2a91")

BUFFER_BYTES: Final = 2 << 20
"""Shared memory for one call. Beside a TA of 12 MiB OP-TEE's usual page-table
memory carries 2 MiB; 4 MiB register, and then the call fails."""

STAGING_BYTES: Final = 64 << 10
"""Shared memory behind the buffer, for headers, licenses, records and outputs."""

KEEP_SHARE: Final = 8
"""Kept pages of all sessions take at most one part in so many of the memory that the
machine has available, unless the device's URI says otherwise."""

_URI_HINT: Final = "write tee: or tee:?keep=64MiB (0: keep no pages)"
_STAGING_ALIGN: Final = 64
_SUCCESS: Final = int(teec.Result.SUCCESS)

# What a prepared operation does: pages or inputs in the buffer, or nothing.
# Numbers, not members: to look a member up costs a call.
_BUFFER_COMMANDS: Final = frozenset(
    map(int, (Command.PUSH, Command.INPUT, Command.FILL))
)
_BARE: Final = frozenset(map(int, (Command.INFER, Command.CLOSE)))
_PREPARED_TYPES: Final = {
    Param.NONE: ParamType.NONE,
    Param.VALUE_INOUT: ParamType.VALUE_INOUT,
    Param.VALUE_OUTPUT: ParamType.VALUE_OUTPUT,
    Param.MEMREF_INPUT: ParamType.MEMREF_PARTIAL_INPUT,
}


class TeeDevice(LocalDevice):
    """The Trusted Application in this machine's TEE."""

    kind = "op-tee"

    def __init__(self, uri: str = "tee:", *, uuid: UUID = TA_UUID) -> None:
        """Connect to the TEE; no session is opened yet.

        Args:
            uri: `tee:`, or `tee:?keep=SIZE`: normal memory for pages that every
                inference takes (default: see `KEEP_SHARE`), 0 for none.
            uuid: another Trusted Application with the same interface.

        Raises:
            DeviceError: a malformed URI.
            EnvironmentMissingError: no `libteec`, no driver, no permission.
        """
        super().__init__(uri)
        self._keep_bytes = _parse_uri(uri)
        self._kept: list[KeptPages] = []
        self._uuid = uuid
        self._library = teec.load_library()
        self._context = teec.TeecContext()
        self._lock = threading.Lock()
        self._sessions = 0
        self._closed = False
        result = self._library.TEEC_InitializeContext(None, ctypes.byref(self._context))
        self._connected = result == teec.Result.SUCCESS
        if not self._connected:
            raise teec.context_failure(result)

    def open(self) -> TeeInvoker:
        """See `LocalDevice.open`.

        Raises:
            EnvironmentMissingError: the Trusted Application is not installed.
            SecureMemoryError: no secure memory is left for it.
            DeviceLostError: it cannot be opened.
        """
        with self._lock:
            if self._closed:
                raise DeviceLostError(f"{self.uri} is closed")
            self._sessions += 1
        try:
            try:
                return TeeInvoker(self)
            except DeviceError:
                # A session is worth more than copies saved.
                if not self._let_go():
                    raise
                return TeeInvoker(self)
        except BaseException:
            self.session_ended()
            raise

    def close(self) -> None:
        """Disconnect as soon as the last session is closed."""
        with self._lock:
            self._closed = True
            self._disconnect()

    def share(
        self, memory: mmap.mmap, offset: int = 0, size_bytes: int | None = None
    ) -> SharedMemory:
        """Register memory; see `SharedMemory`."""
        return SharedMemory(self._library, self._context, memory, offset, size_bytes)

    def keep(self, file: PageFile, pages: range, step: int) -> KeptPages | None:
        """Keep pages if this machine and its TEE have room for them."""
        with self._lock:
            taken = sum(kept.size_bytes for kept in self._kept)
            limit = self._keep_bytes
            if limit is None:
                limit = (available_bytes() + taken) // KEEP_SHARE
            kept = KeptPages.take(self.share, file, pages, step, limit - taken)
            if kept is not None:
                self._kept.append(kept)
        return kept

    def give_back(self, kept: KeptPages) -> None:
        """Release kept pages."""
        kept.release()
        with self._lock:
            self._kept.remove(kept)

    def _let_go(self) -> bool:
        """Give OP-TEE what it remembers of kept pages; False when it is nothing."""
        with self._lock:
            all_kept = list(self._kept)
        for kept in all_kept:
            kept.let_go()
        return bool(all_kept)

    def session_ended(self) -> None:
        """Forget a session; called by the session itself."""
        with self._lock:
            self._sessions -= 1
            if self._closed:
                self._disconnect()

    def _disconnect(self) -> None:
        if self._sessions == 0 and self._connected:
            self._connected = False
            self._library.TEEC_FinalizeContext(ctypes.byref(self._context))

    def __del__(self) -> None:
        # A device whose owner forgot it; a session holds a reference to it, so
        # there are none left.
        if getattr(self, "_connected", False):
            self._disconnect()


class TeeInvoker:
    """A session with the Trusted Application; see `Invoker`."""

    def __init__(self, device: TeeDevice) -> None:
        """Use `TeeDevice.open`."""
        self._device = device
        self._library = device._library
        self._memory = device.share(private_memory(BUFFER_BYTES + STAGING_BYTES))
        self._kept: KeptPages | None = None
        self.buffer = self._memory.view[:BUFFER_BYTES]
        self.invocations = 0
        self._operation = TeecOperation()
        self._prepared: dict[int, _Prepared] = {}
        self._origin = ctypes.c_uint32()
        self._session = teec.TeecSession()
        self._is_open = False
        origin = ctypes.c_uint32()
        uuid = teec.TeecUuid.of(device._uuid)
        result = self._library.TEEC_OpenSession(
            ctypes.byref(device._context),
            ctypes.byref(self._session),
            ctypes.byref(uuid),
            teec.LOGIN_PUBLIC,
            None,
            None,
            ctypes.byref(origin),
        )
        if result != teec.Result.SUCCESS:
            self.buffer.release()
            self._memory.release()
            raise teec.session_failure(result, origin.value, device._uuid)
        self._is_open = True

    def invoke(
        self,
        command: Command,
        *,
        values: tuple[int, int] = (0, 0),
        data1: BytesLike | None = None,
        data2: BytesLike | None = None,
        buffer_bytes: int = 0,
        output_bytes: int = 0,
        kept: bool = False,
    ) -> Reply:
        """See `Invoker.invoke`."""
        if not self._is_open:
            raise DeviceLostError(f"{command.name}: the session is closed")
        if kept:
            return self._hand_in_kept(command, values)
        if not 0 <= buffer_bytes <= BUFFER_BYTES:
            raise DeviceError(f"{command.name}: {buffer_bytes} bytes of the buffer")
        number = int(command)
        if data1 is None and number in (_BUFFER_COMMANDS if buffer_bytes else _BARE):
            return self._hand_in(command, values, self._memory, 0, buffer_bytes)
        call = _Call(self._operation, self._memory)
        inputs = iter((data1, data2))
        for index, kind in enumerate(PARAMETERS[command]):
            if kind is Param.VALUE_INOUT:
                call.value_inout(index, *values)
            elif kind is Param.VALUE_OUTPUT:
                call.value_output(index)
            elif kind is Param.MEMREF_INPUT:
                data = next(inputs)
                if data is None and buffer_bytes:
                    call.shared(index, ParamType.MEMREF_PARTIAL_INPUT, 0, buffer_bytes)
                else:
                    call.memory_input(index, data or b"")
            elif kind is Param.MEMREF_OUTPUT:
                call.memory_output(index, output_bytes)
        self._enter(number, ctypes.byref(self._operation), command)
        return call.reply(command)

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """See `Invoker.keep`."""
        if self._kept is not None:
            raise DeviceError("pages of another model are kept for this session")
        self._kept = self._device.keep(file, pages, step)
        return len(pages) if self._kept is not None else 0

    def _hand_in_kept(self, command: Command, values: tuple[int, int]) -> Reply:
        kept = self._kept
        if kept is None:
            raise DeviceError(f"{command.name}: no pages are kept")
        with kept.lock:
            found = kept.find(*values)
            if found is None:
                found = self._memory, 0, kept.copy(*values, self.buffer)
            return self._hand_in(command, values, *found)

    def _hand_in(
        self,
        command: Command,
        values: tuple[int, int],
        memory: SharedMemory,
        offset: int,
        size: int,
    ) -> Reply:
        number = int(command)
        prepared = self._prepared.get(number)
        if prepared is None:
            prepared = self._prepared[number] = _Prepared(command)
        prepared.fill(values, memory, offset, size)
        self._enter(number, prepared.reference, command)
        return prepared.reply()

    def _enter(self, number: int, operation: object, command: Command) -> None:
        """Invoke with the parameters that an operation holds.

        Raises:
            DeviceLostError: the Trusted Application died, or does not know these
                parameter types.
            SecureMemoryError: no memory for the call's shared memory.
        """
        self.invocations += 1
        result = self._library.TEEC_InvokeCommand(
            ctypes.byref(self._session), number, operation, ctypes.byref(self._origin)
        )
        if result != _SUCCESS:
            if result == teec.Result.TARGET_DEAD:
                self.close()
            raise teec.command_failure(result, self._origin.value, command.name)

    def close(self) -> None:
        """See `Invoker.close`."""
        if not self._is_open:
            return
        self._is_open = False
        self._library.TEEC_CloseSession(ctypes.byref(self._session))
        if self._kept is not None:
            self._device.give_back(self._kept)
        self._memory.release()
        self._device.session_ended()

    def __del__(self) -> None:
        if getattr(self, "_is_open", False):
            self.close()


class _Prepared:
    """The `TEEC_Operation` of a command that hands in shared memory, or none.

    These are the calls of a steady inference. All but a few numbers is the same
    each time, and filling it in anew would be half of what a small call costs.
    """

    def __init__(self, command: Command) -> None:
        operation = TeecOperation()
        self._operation = operation
        self.reference = ctypes.byref(operation)
        self._values = operation.params[0].value
        self._memory: teec.RegisteredMemory | None = None
        self._answers: list[teec.Value] = []
        for index, kind in enumerate(PARAMETERS[command]):
            if kind is Param.MEMREF_INPUT:
                self._memory = operation.params[index].memref
            elif kind is Param.VALUE_OUTPUT:
                self._answers.append(operation.params[index].value)
            operation.param_types |= int(_PREPARED_TYPES[kind]) << (4 * index)

    def fill(
        self, values: tuple[int, int], memory: SharedMemory, offset: int, size: int
    ) -> None:
        """Set what differs from one call to the next."""
        self._values.a, self._values.b = values
        for answer in self._answers:
            answer.a = answer.b = 0
        if self._memory is not None:
            self._memory.parent = memory.pointer
            self._memory.size = size
            self._memory.offset = offset

    def reply(self) -> Reply:
        """Read the answer."""
        status = self._values
        if not self._answers:
            return Reply(status.a, status.b)
        want, state = self._answers
        return Reply(status.a, status.b, want.a, want.b, state.a)


class _Call:
    """Fills one `TEEC_Operation` and reads the answer out of it."""

    def __init__(self, operation: TeecOperation, memory: SharedMemory) -> None:
        ctypes.memset(ctypes.byref(operation), 0, ctypes.sizeof(operation))
        self._operation = operation
        self._memory = memory
        self._staged_bytes = 0
        self._kept: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self._room_bytes: dict[int, int] = {}

    def _set_type(self, index: int, kind: ParamType) -> None:
        self._operation.param_types |= int(kind) << (4 * index)

    def value_inout(self, index: int, a: int, b: int) -> None:
        self._set_type(index, ParamType.VALUE_INOUT)
        self._operation.params[index].value.a = a
        self._operation.params[index].value.b = b

    def value_output(self, index: int) -> None:
        self._set_type(index, ParamType.VALUE_OUTPUT)

    def shared(self, index: int, kind: ParamType, offset: int, size: int) -> None:
        """Point at a part of the session's shared memory."""
        self._set_type(index, kind)
        reference = self._operation.params[index].memref
        reference.parent = self._memory.pointer
        reference.offset = offset
        reference.size = size

    def memory_input(self, index: int, data: BytesLike) -> None:
        """Hand in a copy of the bytes: staged when small, else by itself."""
        size = len(data)
        offset = self._stage(size)
        if offset is None:
            self._temporary(index, ParamType.MEMREF_TEMP_INPUT, bytes(data), size)
            return
        self._memory.view[offset : offset + size] = data
        self.shared(index, ParamType.MEMREF_PARTIAL_INPUT, offset, size)

    def memory_output(self, index: int, size: int) -> None:
        """Give room for an answer."""
        self._room_bytes[index] = size
        offset = self._stage(size)
        if offset is None:
            self._temporary(index, ParamType.MEMREF_TEMP_OUTPUT, b"", size)
        else:
            self.shared(index, ParamType.MEMREF_PARTIAL_OUTPUT, offset, size)

    def _stage(self, size: int) -> int | None:
        """Return where in the staging area so many bytes fit, or None.

        An empty reference is handed in by itself: the client library takes none
        of no bytes in shared memory.
        """
        if size == 0 or self._staged_bytes + size > STAGING_BYTES:
            return None
        offset = BUFFER_BYTES + self._staged_bytes
        self._staged_bytes += -(-size // _STAGING_ALIGN) * _STAGING_ALIGN
        return offset

    def _temporary(self, index: int, kind: ParamType, data: bytes, size: int) -> None:
        self._set_type(index, kind)
        memory = ctypes.create_string_buffer(data, max(size, 1))
        self._kept[index] = memory
        self._operation.params[index].tmpref.buffer = ctypes.addressof(memory)
        self._operation.params[index].tmpref.size = size

    def _output(self, index: int) -> bytes:
        # The size comes from the other side: it never passes the room given.
        room = self._room_bytes[index]
        if index in self._kept:
            size = min(self._operation.params[index].tmpref.size, room)
            return self._kept[index].raw[:size]
        reference = self._operation.params[index].memref
        size = min(reference.size, room)
        return bytes(self._memory.view[reference.offset : reference.offset + size])

    def reply(self, command: Command) -> Reply:
        """Read the answer."""
        output = b""
        answers: list[tuple[int, int]] = []
        for index, kind in enumerate(PARAMETERS[command]):
            if kind is Param.VALUE_OUTPUT:
                value = self._operation.params[index].value
                answers.append((value.a, value.b))
            elif kind is Param.MEMREF_OUTPUT:
                output = self._output(index)
        status = self._operation.params[0].value
        want = answers[0] if answers else (0, 0)
        return Reply(
            status=status.a,
            detail=status.b,
            want_first=want[0],
            want_count=want[1],
            state=answers[1][0] if len(answers) > 1 else None,
            output=output,
        )


def _parse_uri(uri: str) -> int | None:
    """Return how many bytes are to be kept; None when it is not said."""
    path, _, query = uri.removeprefix("tee:").partition("?")
    options = parse_qs(query, keep_blank_values=True)
    text = options.pop("keep", [None])[-1]
    if path or options:
        raise DeviceError(f"not a TEE device: {uri!r}", hint=_URI_HINT)
    return None if text is None else parse_size(text, hint=_URI_HINT)
