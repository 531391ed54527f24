# SPDX-License-Identifier: Apache-2.0
"""Private inputs and outputs: between an asker and the secure world alone.

For a device whose owner is not the one who asks. The asker seals the inputs to the
device's key and gets an answer that only it can read; host software, agent and
network between carry what they cannot read::

    asker = Asker.of_model(
        "model.sealed", device=certificate.public_key, provider=provider
    )
    question = asker.ask({"image": image})
    answer = send(question.data)            # InferenceSession.ask, or the agent
    scores = question.open(answer)[0]

What the privacy rests on is the device's key: take it from a certificate whose
evidence was verified (`undercroft.enroll`), or from a license that your provider
signed. A key that came over the network alone may be anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from undercroft._feeds import checked_inputs
from undercroft._format.cose import SignedMessage
from undercroft._format.header import SealedHeader
from undercroft._format.private_io import Exchange
from undercroft._spec import FEATURE_SEALED_INPUT, FEATURE_SEALED_OUTPUT
from undercroft.errors import InputError, VerificationError
from undercroft.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy.typing as npt

    from undercroft.keys import DevicePublicKey, ProviderPublicKey
    from undercroft.license import License

__all__ = ["Asker", "Question"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question, and what it takes to read the answer to it. Keep it secret.

    Attributes:
        data: what to send: the opening, and the sealed inputs if they are sealed.
        outputs: the model's outputs.
        exchange: its secrets.
    """

    data: bytes
    outputs: tuple[TensorInfo, ...]
    exchange: Exchange

    def open(self, answer: bytes) -> list[npt.NDArray[Any]]:
        """Return the outputs, in the model's order.

        Raises:
            FormatError: not the length of an answer of this model.
            VerificationError: not the answer to this question, or changed.
        """
        opened = self.exchange.open_answer(answer, self.outputs)
        return [
            np.frombuffer(data, "<f4").reshape(info.shape).astype(info.dtype)
            for data, info in zip(opened, self.outputs, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes questions for one model on one device. Pure: it sends nothing.

    Attributes:
        device: the key that questions are sealed to.
        header_bytes: the model's header; question and answer are bound to it.
        header: what that says.
    """

    device: DevicePublicKey
    header_bytes: bytes
    header: SealedHeader

    @classmethod
    def of_header(
        cls,
        header: bytes,
        *,
        device: DevicePublicKey,
        provider: ProviderPublicKey | None = None,
    ) -> Self:
        """Take a model's header, as an agent gives it.

        Args:
            header: the header, a COSE_Sign1.
            device: the device's key, from where it is trusted.
            provider: the key that must have signed the header; any key without.

        Raises:
            FormatError: it is not as `spec/sealed-model.md` says.
            VerificationError: it does not verify, or another provider signed.
        """
        what = "the model's header"
        message = SignedMessage.parse(header, what)
        if provider is not None and provider.raw != message.provider_key:
            raise VerificationError(
                f"{what} is signed by another provider",
                hint="check that model and provider's public key belong together",
            )
        message.verify(what)
        return cls(device, header, SealedHeader.parse(message.payload))

    @classmethod
    def of_model(
        cls,
        path: Path | str,
        *,
        device: DevicePublicKey,
        provider: ProviderPublicKey | None = None,
    ) -> Self:
        """Take a sealed file; see `of_header`.

        Raises:
            FileAccessError: it cannot be read.
            FormatError: it is not a sealed file.
            VerificationError: it does not verify, or another provider signed.
        """
        from undercroft.sealed import SealedModel

        with SealedModel.open(path, provider=provider) as sealed:
            return cls(device, sealed.header_bytes, sealed.header)

    def ask(
        self,
        input_feed: Mapping[str, Any] | None,
        *,
        seal_inputs: bool = True,
        seal_outputs: bool = True,
    ) -> Question:
        """Make a question, good for one inference.

        Args:
            input_feed: an array for each input, of exactly its shape and type;
                None when inputs are not sealed, and go by another way.
            seal_inputs: whether only the device may read the inputs.
            seal_outputs: whether only this question may read the outputs.

        Raises:
            InputError: a name, shape or type is not the model's; or nothing is
                to be sealed.
            VerificationError: the device's key cannot be encrypted to.
            EnvironmentMissingError: the library of the model's cipher is missing.
        """
        flags = seal_inputs * FEATURE_SEALED_INPUT
        flags |= seal_outputs * FEATURE_SEALED_OUTPUT
        if not flags:
            raise InputError("a question with nothing to seal", hint="use a session")
        if seal_inputs == (input_feed is None):
            raise InputError(
                "inputs go into the question when they are sealed, and only then"
            )
        exchange = Exchange.begin(
            flags=flags,
            device_key=self.device.raw,
            header=self.header_bytes,
            suite=self.header.suite,
        )
        data = exchange.opening
        if input_feed is not None:
            arrays = checked_inputs(self.header.inputs, input_feed)
            data += exchange.seal_inputs(
                [
                    np.ascontiguousarray(array, "<f4").reshape(-1).data.cast("B")
                    for array in arrays
                ]
            )
        return Question(data, self.header.outputs, exchange)


def key_that_a_license_names(
    permit: License, device_key: DevicePublicKey
) -> DevicePublicKey:
    """Return the device's key when the license, whose signature is good, is for it.

    A device sends its key by itself, and its license says by a provider's word what
    that key is: so an asker who trusts where the license came from needs no more.

    Raises:
        VerificationError: the license does not verify, or names another key.
    """
    permit.verify()
    if permit.claims.device_id != device_key.device_id:
        raise VerificationError(
            "the device's key is not the one that the license is for",
            hint="something between may have put its own key there; take the key from "
            "the device's certificate",
        )
    return device_key
