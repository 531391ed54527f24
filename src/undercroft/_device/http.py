# SPDX-License-Identifier: Apache-2.0
"""`http:` and `board:` devices: a device behind an agent.

The agent and everything between are untrusted, as the device's normal world is.
What it answers is read with limits; that it cannot fake a device is a matter of
certificates (`undercroft.enroll`), not of this connection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote

from undercroft._device.base import Answer
from undercroft._device.connection import AgentConnection
from undercroft._device.parcel import Parcel
from undercroft._device.records import DeviceInfo, Stats
from undercroft._spec import MAX_LICENSE_BYTES
from undercroft.errors import (
    DeviceError,
    Error,
    FileAccessError,
    InputError,
    LicenseError,
)
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from undercroft._device.oip import InferAnswer

DEFAULT_TIMEOUT_SECONDS: Final = 900.0
"""Between two bytes of an answer: a big model under emulation takes minutes."""

_CONNECT_SECONDS: Final = 10.0
_MAX_CONTROL_BYTES: Final = 1 << 20
_CHUNK_BYTES: Final = 1 << 20


class HttpDevice:
    """A device behind an agent (`undercroft serve`)."""

    def __init__(
        self, uri: str, *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> None:
        """Remember where the agent is; nothing is sent yet.

        Raises:
            DeviceError: not a URI like `http://HOST[:PORT]`.
        """
        self.uri = uri
        self._connection = AgentConnection(uri, timeout_seconds)
        self._info: DeviceInfo | None = None

    @property
    def kind(self) -> str:
        """`op-tee` or `host`, as the agent says."""
        return (self._info or self.info()).kind

    def info(self) -> DeviceInfo:
        """See `Device.info`."""
        value = self._connection.json("GET", "/v2/undercroft")
        try:
            self._info = DeviceInfo.from_dict(value["device"])
        except (KeyError, TypeError) as error:
            raise DeviceError(
                f"{self.uri}: the agent does not say what its device is",
                hint="check that the address is that of `undercroft serve`",
            ) from error
        return self._info

    def device_key(self) -> bytes:
        """See `Device.device_key`."""
        body, _ = self._connection.ask("GET", "/v2/undercroft/device-key")
        return body

    def attest(self, nonce: bytes) -> bytes:
        """See `Device.attest`."""
        body, _ = self._connection.ask("POST", "/v2/undercroft/attest", body=nonce)
        return body

    def update(self, update_bytes: bytes) -> None:
        """See `Device.update`."""
        self._connection.json("POST", "/v2/undercroft/update", body=update_bytes)

    def load(
        self, sealed_path: Path, license_bytes: bytes, *, keep: bool = True
    ) -> HttpModel:
        """See `Device.load`. A file that the device has already is not sent again."""
        return HttpModel(self._connection, sealed_path, license_bytes, keep=keep)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class HttpModel:
    """A sealed model on a device behind an agent.

    The name on the device is derived from file and license, so that sessions with
    equal files share one copy and different ones never meet.
    """

    def __init__(
        self,
        connection: AgentConnection,
        sealed_path: Path,
        license_bytes: bytes,
        *,
        keep: bool = True,
    ) -> None:
        """Upload what is missing, and load.

        Args:
            connection: to the agent; stays open on `close`.
            sealed_path: the sealed file.
            license_bytes: the license for the agent's device.
            keep: leave the file on the device, so that the next session with
                it starts quickly.

        Raises:
            FormatError: not a sealed file.
            Error: as the device answers.
        """
        parcel = Parcel.read(sealed_path)
        if not 1 <= len(license_bytes) <= MAX_LICENSE_BYTES:
            raise LicenseError(
                f"a license of {len(license_bytes)} bytes; it has 1 to "
                f"{MAX_LICENSE_BYTES}",
                hint="ask the provider for a license for this device and model",
            )
        self.inputs: Sequence[TensorInfo] = parcel.inputs
        self.outputs: Sequence[TensorInfo] = parcel.outputs
        self._connection = connection
        self._path = Path(sealed_path)
        self._license = license_bytes
        self._keep = keep
        self._digest = _sha256_of(self._path)
        together = hashlib.sha256(self._digest.encode() + license_bytes)
        self.name = f"session-{together.hexdigest()[:40]}"
        self._closed = False
        self._load()

    def infer(
        self, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[list[npt.NDArray[np.float32]], Stats]:
        """See `LoadedModel.infer`."""
        from undercroft._device import oip

        parsed = self._infer(*oip.encode_request(self.inputs, inputs))
        return self._outputs_of(parsed), Stats.from_parameters(parsed.parameters)

    def ask(
        self, question: bytes, inputs: Sequence[npt.NDArray[np.float32]]
    ) -> tuple[Answer, Stats]:
        """See `LoadedModel.ask`."""
        from undercroft._device import oip
        from undercroft._format.private_io import QuestionParts

        is_sealed = QuestionParts.parse(question, self.inputs).seals_outputs
        body, head = oip.encode_request(self.inputs, inputs, question)
        parsed = self._infer(body, head, is_sealed=is_sealed)
        outputs = [] if is_sealed else self._outputs_of(parsed)
        stats = Stats.from_parameters(parsed.parameters)
        return Answer(parsed.sealed, outputs), stats

    def _outputs_of(self, parsed: InferAnswer) -> list[npt.NDArray[np.float32]]:
        return [parsed.outputs[info.name] for info in self.outputs]

    def _infer(self, body: bytes, head: int, *, is_sealed: bool = False) -> InferAnswer:
        from undercroft._device import oip

        headers = {
            oip.HEADER_LENGTH: str(head),
            "Content-Type": "application/octet-stream",
        }
        path = f"/v2/models/{self.name}/infer"
        largest = oip.max_request_bytes(self.outputs)

        def once() -> tuple[bytes, Mapping[str, str]]:
            return self._connection.ask(
                "POST", path, body=body, headers=headers, max_bytes=largest
            )

        try:
            answer, answered = once()
        except DeviceError as error:
            # Another client took our place in secure memory, or the agent
            # was started anew: load once more, then it is a real failure.
            if error.command or self._is_loaded():
                raise
            self._load()
            answer, answered = once()
        text = answered.get(oip.HEADER_LENGTH.lower())
        if text is not None and not (text.isascii() and text.isdigit()):
            raise DeviceError(f"the agent's {oip.HEADER_LENGTH} is no number")
        try:
            return oip.parse_answer(
                answer,
                None if text is None else int(text),
                self.outputs,
                is_sealed=is_sealed,
            )
        except InputError as error:
            raise DeviceError(
                f"the agent's answer cannot be read: {error.message}",
                hint="host software and agent are of different versions",
            ) from error

    def close(self) -> None:
        """Unload the model, and delete it when it is not to be kept. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with suppress(Error):
            if self._keep:
                self._connection.json("POST", self._repository("unload"))
            else:
                self._connection.json("DELETE", self._own())

    def _load(self) -> None:
        known: Mapping[str, Any] = {}
        with suppress(DeviceError):
            known = self._connection.json("GET", self._own())
        if known.get("sealed_sha256") != self._digest:
            self._upload()
        if not known.get("has_license"):
            self._connection.json("PUT", self._own("license"), body=self._license)
        self._connection.json(
            "POST",
            self._repository("load"),
            body=json.dumps({"parameters": {"undercroft_evictable": True}}).encode(),
        )

    def _upload(self) -> None:
        try:
            size = self._path.stat().st_size
            with self._path.open("rb") as file:
                chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
                answer = self._connection.json(
                    "PUT",
                    self._own("sealed"),
                    body=chunks,
                    headers={"Content-Length": str(size)},
                )
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if answer.get("sha256") != self._digest:
            raise DeviceError(
                f"{self._path} arrived on the device with another content",
                hint="was the file changed meanwhile? try again",
            )

    def _is_loaded(self) -> bool:
        return bool(self._connection.json("GET", self._own()).get("loaded"))

    def _own(self, part: str = "") -> str:
        path = f"/v2/undercroft/models/{quote(self.name)}"
        return f"{path}/{part}" if part else path

    def _repository(self, verb: str) -> str:
        return f"/v2/repository/models/{quote(self.name)}/{verb}"


class BoardDevice(HttpDevice):
    """The emulated board, which is started when it is not up and stays up."""

    def __init__(self, uri: str, url: str) -> None:
        """Use the agent at `url`."""
        super().__init__(url)
        self.uri = uri


def open_board(uri: str) -> BoardDevice:
    """Return the device for `board:[NAME][?clock=real|instructions]`.

    Raises:
        DeviceError: a malformed URI.
        HarnessError: the board does not come up.
        EnvironmentMissingError: a tool is missing.
    """
    from undercroft._board import ensure_up

    name, _, query = uri.removeprefix("board:").partition("?")
    options = parse_qs(query, keep_blank_values=True)
    clock = options.pop("clock", [None])[-1]
    if options or "/" in name:
        raise DeviceError(
            f"not a board: {uri!r}",
            hint="write board:, board:NAME or board:NAME?clock=instructions",
        )
    board = ensure_up(name or "default", clock=clock)
    return BoardDevice(uri, board.url)


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FileAccessError:
    return FileAccessError(
        f"{path}: {error.strerror}", hint="check the path of the sealed file"
    )
