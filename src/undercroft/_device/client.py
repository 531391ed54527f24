# SPDX-License-Identifier: Apache-2.0
"""Drives one session with the secure side: carries pages down, answers up.

This is normal-world code and decides nothing: it obeys what the secure side
wants and hands on what it cannot read. Memory: one shared buffer, which pages are
read into from the file; and, where the device has room for it, a copy of the pages
that every inference takes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from undercroft._device.base import Answer
from undercroft._device.clock import counts_instructions
from undercroft._device.invoker import Invoker, Reply
from undercroft._device.parcel import PageFile, Parcel
from undercroft._device.records import DeviceInfo, Stats
from undercroft._format.private_io import (
    PAGE_ELEMENTS,
    SLOT_BYTES,
    QuestionParts,
    sealed_bytes,
)
from undercroft._spec import (
    ANSWER_NONCE_BYTES,
    INFO_RECORD_BYTES,
    MAX_LICENSE_BYTES,
    STATS_RECORD_BYTES,
    Command,
    State,
    Status,
)
from undercroft.errors import DeviceError, Error, InputError, LicenseError, from_status
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft._device.invoker import BytesLike


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a tensor is cut into on its way; a call moves whole ones."""

    wire_bytes: int
    elements: int


_PLAIN: Final = _Unit(4, 1)
_SEALED: Final = _Unit(SLOT_BYTES, PAGE_ELEMENTS)


@dataclass(frozen=True, slots=True)
class _Result:
    nonce: bytes
    outputs: list[bytearray]


class ModelClient:
    """A sealed model, loaded over an `Invoker` that the client then owns.

    Not safe for use by several threads at once. After a failed inference the
    next one works; after a `DeviceLostError` the session is gone and the model
    has to be loaded again.
    """

    def __init__(
        self, invoker: Invoker, sealed_path: Path | str, license_bytes: bytes
    ) -> None:
        """Open the model and push its program and resident pages.

        Raises:
            FormatError: not a sealed file, or damaged.
            LicenseError: for another device, model or provider.
            VerificationError: something does not verify.
            SecureMemoryError: the device has too little secure memory free.
            DeviceError: the device refuses otherwise.
        """
        self._invoker = invoker
        self._parcel = Parcel.read(sealed_path)
        if not 1 <= len(license_bytes) <= MAX_LICENSE_BYTES:
            raise LicenseError(
                f"a license of {len(license_bytes)} bytes; it has 1 to "
                f"{MAX_LICENSE_BYTES}",
                hint="ask the provider for a license for this device and model",
            )
        self._push_pages = self._choose_push_pages()
        self._file = PageFile(self._parcel)
        self._kept = range(0)
        try:
            reply = self._invoke(
                Command.OPEN, data1=self._parcel.header_bytes, data2=license_bytes
            )
            self._serve(reply, State.READY)
            self._kept = self._keep_pages()
        except BaseException:
            self._file.close()
            raise
        # Whether the device may still be inside an inference that failed here.
        self._in_doubt = False
        self._closed = False

    @property
    def model_version(self) -> int:
        """The version that the provider gave the model."""
        return self._parcel.header.model_version

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """Inputs in the order `infer` takes them."""
        return self._parcel.inputs

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """Outputs in the order `infer` gives them."""
        return self._parcel.outputs

    def infer(
        self, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[list[npt.NDArray[np.float32]], Stats]:
        """Run one inference.

        Args:
            inputs: one array per input, of exactly its shape and type.

        Returns:
            The outputs, and what the inference cost.

        Raises:
            InputError: a wrong number of inputs, a wrong shape or type.
            VerificationError: a page does not verify.
            DeviceError: the device refuses.
        """
        payloads = self._encode(inputs)
        result, stats = self._run(None, payloads, _PLAIN, _PLAIN)
        return self._decode(result), stats

    def ask(
        self, question: bytes, inputs: Sequence[npt.NDArray[np.float32]] = ()
    ) -> tuple[Answer, Stats]:
        """Run the inference of a question (`spec/private-io.md`).

        Args:
            question: an asker's.
            inputs: as `infer` takes them, when the question does not hold them.

        Raises:
            FormatError: not a question for this model.
            InputError: inputs beside sealed ones; or as `infer`.
            VerificationError: it is for another device or model, or was changed.
            DeviceError: the device refuses.
        """
        parts = QuestionParts.parse(question, self.inputs)
        if parts.seals_inputs and inputs:
            raise InputError("the question holds the inputs; others came beside it")
        payloads = parts.inputs if parts.seals_inputs else self._encode(inputs)
        result, stats = self._run(
            parts.opening,
            payloads,
            _SEALED if parts.seals_inputs else _PLAIN,
            _SEALED if parts.seals_outputs else _PLAIN,
        )
        if not parts.seals_outputs:
            return Answer(b"", self._decode(result)), stats
        return Answer(result.nonce + b"".join(result.outputs), []), stats

    def _run(
        self,
        opening: bytes | None,
        payloads: Sequence[memoryview],
        input_unit: _Unit,
        output_unit: _Unit,
    ) -> tuple[_Result, Stats]:
        began = time.monotonic_ns()
        entered = self._invoker.invocations
        nonce = self._begin(opening)
        reply = Reply(Status.OK)
        for index, payload in enumerate(payloads):
            reply = self._write(index, payload, input_unit)
        self._serve(reply, State.DONE)
        outputs = [self._read(index, output_unit) for index in range(len(self.outputs))]
        self._in_doubt = False
        switches = self._invoker.invocations - entered
        elapsed_ns = time.monotonic_ns() - began
        record = self._invoke(Command.STATS, output_bytes=STATS_RECORD_BYTES).output
        stats = Stats.parse(
            record,
            world_switches=switches,
            seconds=elapsed_ns / 1e9,
            instructions=elapsed_ns if counts_instructions() else None,
        )
        return _Result(nonce, outputs), stats

    def close(self) -> None:
        """Close the session; the secure side wipes the model. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._file.close()
        with suppress(Error):
            self._invoker.invoke(Command.CLOSE)
        self._invoker.close()

    # ---- inference, step by step ----

    def _begin(self, opening: bytes | None) -> bytes:
        """Begin an inference; return the nonce of the answer to a question."""
        command, room = Command.INFER, 0
        if opening is not None:
            command, room = Command.ASK, ANSWER_NONCE_BYTES
        was_in_doubt, self._in_doubt = self._in_doubt, True

        def begin() -> Reply:
            return self._invoker.invoke(command, data1=opening, output_bytes=room)

        reply = begin()
        if reply.status == Status.BAD_STATE and was_in_doubt:
            # The last inference ended by a failure of ours, so the device was
            # still inside it; now it has ended and wiped it.
            reply = begin()
        output = _check(reply, command).output
        return _of_length(output, room, command, "the answer's nonce")

    def _write(self, index: int, payload: memoryview, unit: _Unit) -> Reply:
        buffer = self._invoker.buffer
        step = len(buffer) // unit.wire_bytes * unit.wire_bytes
        reply = Reply(Status.OK)
        for start in range(0, len(payload), step):
            chunk = payload[start : start + step]
            buffer[: len(chunk)] = chunk
            reply = self._invoke(
                Command.INPUT,
                values=(index, start // unit.wire_bytes * unit.elements),
                buffer_bytes=len(chunk),
            )
        return reply

    def _read(self, index: int, unit: _Unit) -> bytearray:
        info = self.outputs[index]
        size = sealed_bytes(info) if unit is _SEALED else info.element_count * 4
        step = len(self._invoker.buffer) // unit.wire_bytes * unit.wire_bytes
        result = bytearray()
        for start in range(0, size, step):
            wanted = min(step, size - start)
            reply = self._invoke(
                Command.OUTPUT,
                values=(index, start // unit.wire_bytes * unit.elements),
                output_bytes=wanted,
            )
            result += _of_length(
                reply.output, wanted, Command.OUTPUT, f"output {info.name!r}"
            )
        return result

    def _decode(self, result: _Result) -> list[npt.NDArray[np.float32]]:
        return [
            np.frombuffer(data, dtype="<f4").reshape(info.shape)
            for data, info in zip(result.outputs, self.outputs, strict=True)
        ]

    def _serve(self, reply: Reply, state_after: State) -> None:
        """Give the device what it wants until it wants nothing more."""
        state = reply.state
        spilled: dict[int, memoryview] = {}
        while reply.want_count > 0:
            first, count = reply.want_first, min(reply.want_count, self._push_pages)
            if state == State.SPILLING:
                reply = self._take_spilled(first, count, spilled)
            elif state == State.FILLING:
                reply = self._give_spilled(first, count, spilled)
            else:
                reply = self._push(first, count)
            state = reply.state
        if state != state_after:
            raise DeviceError(
                f"the device wants no more pages but is in state {state}, not "
                f"{state_after.name}",
                hint="host software and Trusted Application are of different "
                "versions; rebuild both",
                command="PUSH",
            )

    def _push(self, first: int, count: int) -> Reply:
        """Hand in pages of the file, as many of them as one call takes."""
        index = first - self._kept.start
        if 0 <= index < len(self._kept):
            count = min(
                count,
                self._push_pages - index % self._push_pages,
                self._kept.stop - first,
            )
            return self._invoke(Command.PUSH, values=(first, count), kept=True)
        size = self._file.read(first, count, self._invoker.buffer)
        return self._invoke(Command.PUSH, values=(first, count), buffer_bytes=size)

    def _keep_pages(self) -> range:
        """Have what every inference streams kept, as far as there is room."""
        header = self._parcel.header
        first = header.program_pages + header.resident_pages
        streamed = range(first, first + header.streamed_pages)
        kept = self._invoker.keep(self._file, streamed, self._push_pages)
        return streamed[:kept]

    def _take_spilled(
        self, first: int, count: int, spilled: dict[int, memoryview]
    ) -> Reply:
        """Keep encrypted pages of an activation for the device."""
        slot_bytes = self._parcel.header.slot_bytes
        reply = self._invoke(
            Command.SPILL, values=(first, count), output_bytes=count * slot_bytes
        )
        pages = memoryview(reply.output)
        for index in range(count):
            page = pages[index * slot_bytes : (index + 1) * slot_bytes]
            spilled[first + index] = page
        return reply

    def _give_spilled(
        self, first: int, count: int, spilled: dict[int, memoryview]
    ) -> Reply:
        """Give such pages back."""
        slot_bytes = self._parcel.header.slot_bytes
        for index in range(count):
            page = spilled.get(first + index, b"")
            if len(page) != slot_bytes:
                raise DeviceError(
                    f"the device wants page {first + index} back, which it never "
                    "handed out",
                    hint="host software and Trusted Application are of different "
                    "versions; rebuild both",
                    command="FILL",
                )
            at = index * slot_bytes
            self._invoker.buffer[at : at + slot_bytes] = page
        return self._invoke(
            Command.FILL, values=(first, count), buffer_bytes=count * slot_bytes
        )

    # ---- helpers ----

    def _choose_push_pages(self) -> int:
        record = self._invoke(Command.INFO, output_bytes=INFO_RECORD_BYTES).output
        advised = DeviceInfo.parse("", record).push_pages
        slot_bytes = self._parcel.header.slot_bytes
        room = len(self._invoker.buffer) // slot_bytes
        if room < 1:
            raise DeviceError(
                f"a page of {slot_bytes} bytes does not fit the device's "
                f"shared buffer of {len(self._invoker.buffer)} bytes",
                hint="seal the model with smaller pages",
                command="PUSH",
            )
        return min(room, advised) if advised else room

    def _encode(self, inputs: Sequence[npt.NDArray[np.float32]]) -> list[memoryview]:
        if len(inputs) != len(self.inputs):
            raise InputError(
                f"{len(inputs)} inputs were given; the model has {len(self.inputs)}"
            )
        payloads = []
        for info, array in zip(self.inputs, inputs, strict=True):
            if array.shape != info.shape or array.dtype != np.dtype(info.dtype):
                raise InputError(
                    f"input {info.name!r} is {array.dtype} {array.shape}; expected "
                    f"{info.dtype} {info.shape}"
                )
            flat = np.ascontiguousarray(array, dtype="<f4").reshape(-1)
            payloads.append(flat.data.cast("B"))
        return payloads

    def _invoke(
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
        reply = self._invoker.invoke(
            command,
            values=values,
            data1=data1,
            data2=data2,
            buffer_bytes=buffer_bytes,
            output_bytes=output_bytes,
            kept=kept,
        )
        return _check(reply, command)


def _of_length(output: bytes, wanted: int, command: Command, what: str) -> bytes:
    if len(output) != wanted:
        raise DeviceError(
            f"the device gave {len(output)} bytes of {what} where {wanted} were "
            "asked for",
            hint="the file's header does not describe its program",
            command=command.name,
        )
    return output


def _check(reply: Reply, command: Command) -> Reply:
    if reply.status != Status.OK:
        raise from_status(reply.status, reply.detail, command.name)
    return reply
