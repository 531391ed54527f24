# SPDX-License-Identifier: Apache-2.0
"""What a device is, below `InferenceSession` and the agent.

Two levels:

- `Invoker`: one session with the secure side, as `spec/ta-abi.md` has it. The
  `tee:` and `host:` devices give one; `ModelClient` drives it.
- `Device`: something that says what it is, hands out its public key, and loads
  sealed models. `tee:` and `host:` are `LocalDevice`s, which need only `open()`;
  `board:` and `http:` talk to an agent that has a local device.

This module is also loaded in the board's guest: standard library and numpy only.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Final,
    NamedTuple,
    Protocol,
    Self,
    TypeAlias,
)

from undercroft._device.records import DeviceInfo, Stats
from undercroft._spec import (
    INFO_RECORD_BYTES,
    MAX_EVIDENCE_BYTES,
    STATS_RECORD_BYTES,
    Command,
    State,
    Status,
)
from undercroft.errors import from_status
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft._device.parcel import PageFile

BytesLike: TypeAlias = bytes | bytearray | memoryview

DEVICE_KEY_ROOM_BYTES: Final = 256
"""Room for a COSE_Key of X25519; such a key takes about 45 bytes."""


class Param(Enum):
    """The type of one parameter of a command."""

    NONE = "none"
    VALUE_INOUT = "value inout"
    VALUE_OUTPUT = "value output"
    MEMREF_INPUT = "memref input"
    MEMREF_OUTPUT = "memref output"


PARAMETERS: Final[dict[Command, tuple[Param, Param, Param, Param]]] = {
    Command.INFO: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.DEVICE_KEY: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.OPEN: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT,
    ),
    Command.PUSH: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.INFER: (
        Param.VALUE_INOUT, Param.NONE, Param.NONE, Param.NONE,
    ),
    Command.INPUT: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.OUTPUT: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.STATS: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.NONE, Param.NONE,
    ),
    Command.CLOSE: (
        Param.VALUE_INOUT, Param.NONE, Param.NONE, Param.NONE,
    ),
    Command.SPILL: (
        Param.VALUE_INOUT, Param.MEMREF_OUTPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.FILL: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.VALUE_OUTPUT, Param.VALUE_OUTPUT,
    ),
    Command.UPDATE: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.NONE, Param.NONE,
    ),
    Command.ATTEST: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_OUTPUT, Param.NONE,
    ),
    Command.ASK: (
        Param.VALUE_INOUT, Param.MEMREF_INPUT, Param.MEMREF_OUTPUT, Param.NONE,
    ),
}  # fmt: skip
"""Parameter types of each command (`spec/ta-abi.md`)."""


class Reply(NamedTuple):
    """What a command answered, whichever parameters carried it.

    A tuple, because one is made for each call, which a data class doubles.

    Attributes:
        status: a `Status` value; may be one this version does not know.
        detail: its detail (see `spec/ta-abi.md`).
        want_first: first page wanted next (OPEN, PUSH, INPUT, SPILL, FILL), else
            0; of the file, or of what was spilled in the states SPILLING and
            FILLING.
        want_count: how many pages are wanted, 0 for none or another command.
        state: the state after PUSH, INPUT, SPILL and FILL, else None.
        output: what an output memory reference holds (its written length only).
    """

    status: int
    detail: int = 0
    want_first: int = 0
    want_count: int = 0
    state: int | None = None
    output: bytes = b""


class Invoker(Protocol):
    """One session with the secure side.

    Not safe for use by several threads at once.
    """

    @property
    def buffer(self) -> memoryview:
        """Shared memory (writable, format `B`) that pages are read into.

        Holds at least one page of the largest size with its tag.
        """
        ...

    @property
    def invocations(self) -> int:
        """How often the secure side was entered since `open()`."""
        ...

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        """Keep pages where the secure side can read them, until `close()`.

        Args:
            file: which they are read from, now.
            pages: those that every inference takes.
            step: how many of them one call takes at most.

        Returns:
            How many are kept, the first ones; 0 when there is no room, or when it
            is of no use. A call that hands them in does not cross a multiple of
            `step` of them.

        Raises:
            FormatError: the file does not have these pages.
            FileAccessError: it cannot be read.
        """
        ...

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
        """Enter the secure side once.

        Args:
            command: which command; `PARAMETERS` has the types to pass.
            values: parameter 0 (`a`, `b`).
            data1: a MEMREF_INPUT in parameter 1, copied to shared memory. It may
                be larger than `buffer`; the implementation finds room or raises.
            data2: a MEMREF_INPUT in parameter 2, likewise.
            buffer_bytes: instead of `data1`: the first so many bytes of `buffer`,
                without a copy.
            output_bytes: room of the MEMREF_OUTPUT.
            kept: instead of `data1`: the pages that `values` names (PUSH: first,
                count) of those that `keep` took.

        Returns:
            The answer, also when its status is a failure.

        Raises:
            DeviceLostError: the command could not be routed: the Trusted
                Application died, or the session is closed.
        """
        ...

    def close(self) -> None:
        """End the session; the secure side wipes what it holds. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question (`spec/private-io.md`).

    Attributes:
        sealed: for the asker alone; empty when the question left outputs plain.
        outputs: empty when the answer is sealed.
    """

    sealed: bytes
    outputs: list[npt.NDArray[np.float32]]


class LoadedModel(Protocol):
    """A sealed model on a device, ready to infer."""

    @property
    def inputs(self) -> Sequence[TensorInfo]:
        """Inputs in the order `infer` takes them."""
        ...

    @property
    def outputs(self) -> Sequence[TensorInfo]:
        """Outputs in the order `infer` gives them."""
        ...

    def infer(
        self, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[list[npt.NDArray[np.float32]], Stats]:
        """Run one inference on C-contiguous arrays of exactly the declared shapes."""
        ...

    def ask(
        self, question: bytes, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[Answer, Stats]:
        """Run the inference of a question, with the inputs that are not in it.

        Raises:
            FormatError: not a question for this model.
            InputError: inputs beside sealed ones, or none without.
            VerificationError: it is for another device or model, or was changed.
        """
        ...

    def close(self) -> None:
        """Give the model's secure memory back. Idempotent."""
        ...


class Device(Protocol):
    """A place that can run sealed models."""

    @property
    def uri(self) -> str:
        """The URI it was made from."""
        ...

    @property
    def kind(self) -> str:
        """`op-tee`, or `host` for the engine without any protection."""
        ...

    def info(self) -> DeviceInfo:
        """Ask the secure side what it is."""
        ...

    def device_key(self) -> bytes:
        """The device's public X25519 key, an encoded COSE_Key."""
        ...

    def attest(self, nonce: bytes) -> bytes:
        """Evidence of what the device is, for a challenge of 8 to 64 bytes.

        What it is worth is for `undercroft.attestation` to say.
        """
        ...

    def update(self, update_bytes: bytes) -> None:
        """Hand in a provider's update (`undercroft.update`).

        Raises:
            LicenseError: it is outdated, or of a provider that is not trusted.
            VerificationError: it does not verify.
            DeviceError: the device refuses otherwise.
        """
        ...

    def load(
        self, sealed_path: Path, license_bytes: bytes, *, keep: bool = True
    ) -> LoadedModel:
        """Open a sealed model with its license and push it until it is ready.

        Where the device keeps copies of sealed files, `keep=False` has this one
        deleted when the model is closed.
        """
        ...

    def close(self) -> None:
        """Let go of connections; loaded models are closed by their owner."""
        ...


class LocalDevice(abc.ABC):
    """A device whose secure side this process can enter.

    A subclass sets `kind` and implements `open`; everything else follows.
    """

    kind: ClassVar[str]

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @abc.abstractmethod
    def open(self) -> Invoker:
        """Open a session with the secure side.

        Raises:
            EnvironmentMissingError: a library or driver is missing.
            DeviceLostError: the Trusted Application cannot be opened.
        """

    def info(self) -> DeviceInfo:
        """See `Device.info`."""
        record = self._ask(Command.INFO, INFO_RECORD_BYTES)
        return DeviceInfo.parse(self.kind, record)

    def device_key(self) -> bytes:
        """See `Device.device_key`."""
        return self._ask(Command.DEVICE_KEY, DEVICE_KEY_ROOM_BYTES)

    def attest(self, nonce: bytes) -> bytes:
        """See `Device.attest`."""
        return self._ask(Command.ATTEST, MAX_EVIDENCE_BYTES, nonce)

    def update(self, update_bytes: bytes) -> None:
        """See `Device.update`."""
        self._ask(Command.UPDATE, 0, update_bytes)

    def load(
        self,
        sealed_path: Path,
        license_bytes: bytes,
        *,
        keep: bool = True,
    ) -> LoadedModel:
        """See `Device.load`."""
        from undercroft._device.client import ModelClient

        invoker = self.open()
        try:
            return ModelClient(invoker, sealed_path, license_bytes)
        except BaseException:
            invoker.close()
            raise

    def close(self) -> None:  # noqa: B027 most local devices hold nothing
        """See `Device.close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, command: Command, room_bytes: int, data: bytes | None = None
    ) -> bytes:
        invoker = self.open()
        try:
            reply = invoker.invoke(command, data1=data, output_bytes=room_bytes)
        finally:
            invoker.close()
        if reply.status != Status.OK:
            raise from_status(reply.status, reply.detail, command.name)
        return reply.output


__all__ = [
    "DEVICE_KEY_ROOM_BYTES",
    "INFO_RECORD_BYTES",
    "PARAMETERS",
    "STATS_RECORD_BYTES",
    "Answer",
    "BytesLike",
    "Device",
    "DeviceInfo",
    "Invoker",
    "LoadedModel",
    "LocalDevice",
    "Param",
    "Reply",
    "State",
    "Stats",
]
