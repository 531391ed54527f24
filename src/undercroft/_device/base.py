# SPDX-License-Identifier: Apache-2.0
"""What a device is, below `InferenceSession` and the agent.

Something that says what it is, hands out its public key, and loads sealed models.
`tee:` and `host:` are `LocalDevice`s; `board:` and `http:` talk to an agent that has
one.

This module is also loaded in the board's guest: standard library and numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from undercroft._device.records import DeviceInfo, Stats
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Answer", "Device", "LoadedModel"]


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
