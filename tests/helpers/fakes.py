# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the secure side, with its states and without its cryptography."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from undercroft._device.invoker import BytesLike, Reply
from undercroft._device.local import LocalDevice
from undercroft._device.parcel import PageFile, Parcel
from undercroft._spec import (
    ABI_VERSION,
    INFO_RECORD_BYTES,
    STATS_RECORD_BYTES,
    Command,
    State,
    Status,
)
from undercroft.errors import DeviceLostError

Trap = Callable[[Command, int], Reply | None]
"""Called with each command and how often that one came; an answer replaces the
real one, an exception is raised."""


class FakeInvoker:
    """A session that obeys `spec/ta-abi.md` and computes `output = sum(inputs)`.

    Every output element is the sum of all elements of all inputs. Pages are
    recorded, not decrypted.
    """

    def __init__(
        self,
        parcel: Parcel,
        *,
        window_pages: int = 3,
        buffer_bytes: int = 1 << 16,
        advised_pages: int = 0,
        trap: Trap | None = None,
        keeps_pages: int = 0,
    ) -> None:
        self._header = parcel.header
        self._memory = bytearray(buffer_bytes)
        self.buffer = memoryview(self._memory)
        self.invocations = 0
        self.commands: list[Command] = []
        self.pushed: list[tuple[int, bytes]] = []
        self.license: bytes | None = None
        self.closed = False
        self.inferences = 0
        self._advised_pages = advised_pages
        self._window_pages = window_pages
        self._trap = trap
        self._keeps_pages = keeps_pages
        self.kept: dict[int, bytes] = {}
        self.kept_pushes: list[tuple[int, int]] = []
        self._step = 0
        self._state = State.EMPTY
        self._next = 0
        self._end = 0
        self._inputs: list[np.ndarray] = []
        self._written: list[int] = []

    @property
    def state(self) -> State:
        return self._state

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        assert self._state is State.READY
        slot = self._header.slot_bytes
        memory = bytearray(slot)
        for page in pages[: self._keeps_pages]:
            file.read(page, 1, memoryview(memory))
            self.kept[page] = bytes(memory)
        self._step = step
        return len(self.kept)

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
        assert not self.closed, "a command after close()"
        assert self._state is not State.EMPTY or command in {
            Command.INFO,
            Command.OPEN,
            Command.CLOSE,
            Command.DEVICE_KEY,
        }
        self.invocations += 1
        self.commands.append(command)
        if self._trap is not None:
            answer = self._trap(command, self.commands.count(command))
            if answer is not None:
                if self._state in {State.INPUT, State.RUNNING, State.DONE}:
                    self._state = State.READY
                return answer
        data = self.buffer[:buffer_bytes] if data1 is None else memoryview(data1)
        if kept:
            first, count = values
            index = first - min(self.kept)
            assert index // self._step == (index + count - 1) // self._step
            self.kept_pushes.append((first, count))
            pages = [self.kept[page] for page in range(first, first + count)]
            data = memoryview(b"".join(pages))
        match command:
            case Command.INFO:
                return Reply(Status.OK, output=self._info())
            case Command.DEVICE_KEY:
                return Reply(Status.OK, output=b"\xa3key")
            case Command.OPEN:
                return self._open(bytes(data2 or b""))
            case Command.PUSH:
                return self._push(values[0], values[1], bytes(data))
            case Command.INFER:
                return self._infer()
            case Command.INPUT:
                return self._input(values[0], values[1], bytes(data))
            case Command.OUTPUT:
                return self._output(output_bytes)
            case Command.STATS:
                return Reply(Status.OK, output=self._stats())
            case Command.CLOSE:
                self._state = State.EMPTY
                return Reply(Status.OK)

    def close(self) -> None:
        self.closed = True

    def _info(self) -> bytes:
        words = (ABI_VERSION, 0, 1 << 20, 1 << 19, self._advised_pages, 0, 0, 0)
        record = struct.pack("<8I32s", *words, b"fake 1")
        assert len(record) == INFO_RECORD_BYTES
        return record

    def _stats(self) -> bytes:
        header = self._header
        streamed = header.streamed_pages * header.page_bytes
        record = struct.pack(
            "<16Q",
            *(header.budget_bytes, header.budget_bytes - 64, 999, streamed),
            *(header.streamed_pages, 0, 0, self.inferences, 0, 0, 0, 0, 0, 0, 0, 0),
        )
        assert len(record) == STATS_RECORD_BYTES
        return record

    def _open(self, license_bytes: bytes) -> Reply:
        self.license = license_bytes
        self._state = State.LOADING
        self._next = 0
        self._end = self._header.program_pages + self._header.resident_pages
        return Reply(Status.OK, want_first=0, want_count=self._want())

    def _want(self) -> int:
        return min(self._window_pages, self._end - self._next)

    def _push(self, first: int, count: int, data: bytes) -> Reply:
        if first != self._next or not 1 <= count <= self._want():
            self._state = State.READY
            return Reply(Status.BAD_PAGE_INDEX)
        slot = self._header.slot_bytes
        assert len(data) == count * slot
        for index in range(count):
            page = data[index * slot : (index + 1) * slot]
            self.pushed.append((first + index, page))
        self._next += count
        if self._next == self._end:
            loading = self._state is State.LOADING
            self._state = State.READY if loading else State.DONE
            self.inferences += not loading
        return self._reply_with_state()

    def _infer(self) -> Reply:
        if self._state not in {State.READY, State.DONE}:
            self._state = State.READY
            return Reply(Status.BAD_STATE)
        self._state = State.INPUT
        self._inputs = [
            np.zeros(info.element_count, np.float32) for info in self._header.inputs
        ]
        self._written = [0] * len(self._inputs)
        return Reply(Status.OK)

    def _input(self, index: int, first: int, data: bytes) -> Reply:
        if self._state is not State.INPUT or first != self._written[index]:
            self._state = State.READY
            return Reply(Status.BAD_STATE)
        elements = np.frombuffer(data, "<f4")
        self._inputs[index][first : first + len(elements)] = elements
        self._written[index] += len(elements)
        complete = all(
            done == len(array)
            for done, array in zip(self._written, self._inputs, strict=True)
        )
        if complete:
            self._next = self._end = (
                self._header.program_pages + self._header.resident_pages
            )
            self._end += self._header.streamed_pages
            self._state = State.RUNNING if self._end > self._next else State.DONE
            self.inferences += self._state is State.DONE
        return self._reply_with_state()

    def _output(self, output_bytes: int) -> Reply:
        if self._state is not State.DONE:
            self._state = State.READY
            return Reply(Status.BAD_STATE)
        total = sum(float(array.sum()) for array in self._inputs)
        values = np.full(output_bytes // 4, total, "<f4")
        return Reply(Status.OK, output=values.tobytes())

    def _reply_with_state(self) -> Reply:
        wanted = 0 if self._state is State.INPUT else self._want()
        return Reply(
            Status.OK,
            want_first=self._next if wanted else 0,
            want_count=wanted,
            state=int(self._state),
        )


class FakeDevice(LocalDevice):
    """A device whose sessions are `FakeInvoker`s for one sealed file."""

    kind = "host"

    def __init__(self, sealed_path: Path, *, trap: Trap | None = None) -> None:
        super().__init__("fake:")
        self._parcel = Parcel.read(sealed_path)
        self.trap = trap
        self.opened: list[FakeInvoker] = []
        self.is_closed = False

    def open(self) -> FakeInvoker:
        if self.is_closed:
            raise DeviceLostError("the fake device is closed")
        self.opened.append(FakeInvoker(self._parcel, trap=self.trap))
        return self.opened[-1]

    def close(self) -> None:
        self.is_closed = True
