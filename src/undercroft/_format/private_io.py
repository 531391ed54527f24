# SPDX-License-Identifier: Apache-2.0
"""Sealed inputs and outputs: `spec/private-io.md`.

Form and sizes need the standard library alone, so that a device's normal world can
pass on what it cannot read; what seals and opens loads its libraries when it is used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from undercroft._spec import (
    ANSWER_LABEL,
    ANSWER_NONCE_BYTES,
    FEATURE_SEALED_INPUT,
    FEATURE_SEALED_OUTPUT,
    PAGE_TAG_BYTES,
    PRIVATE_IO_INFO,
    PRIVATE_PAGE_BYTES,
    QUESTION_BYTES,
    QUESTION_LABEL,
)
from undercroft.errors import FormatError, VerificationError

if TYPE_CHECKING:
    from pyhpke import ContextInterface

    from undercroft._format.suites import Aead
    from undercroft.tensor import TensorInfo

PAGE_ELEMENTS: Final = PRIVATE_PAGE_BYTES // 4
SLOT_BYTES: Final = PRIVATE_PAGE_BYTES + PAGE_TAG_BYTES
KEY_BYTES: Final = 32

_FLAGS_BYTES: Final = 4
_BLOCK_BYTES: Final = 16
_ANY: Final = FEATURE_SEALED_INPUT | FEATURE_SEALED_OUTPUT
_ASK_AGAIN: Final = "make a new question; each is good for one inference"


def sealed_bytes(info: TensorInfo) -> int:
    """Return how long the sealed pages of a tensor are."""
    whole, rest = divmod(info.element_count * 4, PRIVATE_PAGE_BYTES)
    return whole * SLOT_BYTES + (_padded(rest) + PAGE_TAG_BYTES if rest else 0)


def _padded(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class QuestionParts:
    """A question of the right form; only the device can say more.

    Attributes:
        opening: what ASK takes, 52 bytes.
        inputs: sealed pages of each input; empty when inputs are not sealed.
    """

    opening: bytes
    inputs: tuple[memoryview, ...]

    @property
    def seals_outputs(self) -> bool:
        """Whether the answer is for the asker alone."""
        return bool(_flags(self.opening) & FEATURE_SEALED_OUTPUT)

    @property
    def seals_inputs(self) -> bool:
        """Whether the inputs are in the question, for the device alone."""
        return bool(_flags(self.opening) & FEATURE_SEALED_INPUT)

    @classmethod
    def parse(
        cls, data: bytes | bytearray | memoryview, inputs: Sequence[TensorInfo]
    ) -> Self:
        """Take a question apart.

        Args:
            data: the question.
            inputs: the model's.

        Raises:
            FormatError: a length or flags that no question for this model has.
        """
        view = memoryview(data)
        opening = bytes(view[:QUESTION_BYTES])
        if len(opening) < QUESTION_BYTES or not 0 < _flags(opening) <= _ANY:
            raise FormatError(
                f"this is no question: {len(view)} bytes, flags "
                f"{_flags(opening) if len(opening) >= _FLAGS_BYTES else 'missing'}",
                hint=_ASK_AGAIN,
            )
        sizes = [sealed_bytes(info) for info in inputs]
        sealed = bool(_flags(opening) & FEATURE_SEALED_INPUT)
        expected = QUESTION_BYTES + (sum(sizes) if sealed else 0)
        if len(view) != expected:
            raise FormatError(
                f"the question has {len(view)} bytes; one for this model has "
                f"{expected}",
                hint="check that it was made for this model",
            )
        return cls(opening, tuple(_cut(view[QUESTION_BYTES:], sizes if sealed else [])))


def split_answer(data: bytes, outputs: Sequence[TensorInfo]) -> list[memoryview]:
    """Return the sealed pages of each output, behind the answer's nonce.

    Raises:
        FormatError: not the length of an answer of this model.
    """
    sizes = [sealed_bytes(info) for info in outputs]
    expected = ANSWER_NONCE_BYTES + sum(sizes)
    if len(data) != expected:
        raise FormatError(
            f"the answer has {len(data)} bytes; one of this model has {expected}",
            hint="check that it is the answer to this question",
        )
    return list(_cut(memoryview(data)[ANSWER_NONCE_BYTES:], sizes))


def _cut(view: memoryview, sizes: Sequence[int]) -> Iterator[memoryview]:
    for size in sizes:
        yield view[:size]
        view = view[size:]


def _flags(opening: bytes) -> int:
    return int.from_bytes(opening[:_FLAGS_BYTES], "little")


# ---- the asker's side ----


@dataclass(frozen=True, slots=True)
class Exchange:
    """What an asker keeps of a question: enough to read its answer.

    Attributes:
        opening: what ASK takes.
        context: HPKE's, with its exporter secret.
        suite: of the model.
    """

    opening: bytes
    context: ContextInterface
    suite: int

    @classmethod
    def begin(
        cls,
        *,
        flags: int,
        device_key: bytes,
        header: bytes,
        suite: int,
        ephemeral: bytes | None = None,
    ) -> Self:
        """Make an opening.

        Args:
            flags: `FEATURE_SEALED_*`: what is sealed.
            device_key: the device's raw X25519 public key.
            header: the model's header, a COSE_Sign1.
            suite: as the header says.
            ephemeral: the raw private key to encapsulate with, for vectors; a
                fresh one without.

        Raises:
            VerificationError: the device's key cannot be encrypted to.
        """
        from cryptography.hazmat.primitives.asymmetric.x25519 import (
            X25519PrivateKey,
            X25519PublicKey,
        )
        from pyhpke import KEMKey, KEMKeyPair
        from pyhpke.exceptions import PyHPKEError

        from undercroft._format.cose import hpke_suite

        pair = None
        if ephemeral is not None:
            private = X25519PrivateKey.from_private_bytes(ephemeral)
            pair = KEMKeyPair(
                KEMKey.from_pyca_cryptography_key(private),
                KEMKey.from_pyca_cryptography_key(private.public_key()),
            )
        start = flags.to_bytes(_FLAGS_BYTES, "little")
        try:
            recipient = X25519PublicKey.from_public_bytes(device_key)
            encapsulated, context = hpke_suite().create_sender_context(
                KEMKey.from_pyca_cryptography_key(recipient),
                info=PRIVATE_IO_INFO.encode() + hashlib.sha256(header).digest(),
                eks=pair,
            )
            tag = context.seal(b"", aad=start)
        except (PyHPKEError, ValueError) as error:
            raise VerificationError(
                "the device's public key cannot be encrypted to",
                hint="enroll the device again",
            ) from error
        return cls(start + encapsulated + tag, context, suite)

    def seal_inputs(self, payloads: Sequence[memoryview]) -> bytes:
        """Return the sealed pages of all inputs, one behind the other."""
        key = self.context.export(QUESTION_LABEL.encode(), KEY_BYTES)
        cipher, page = _cipher(self.suite, key), 0
        sealed = bytearray()
        for payload in payloads:
            for at in range(0, len(payload), PRIVATE_PAGE_BYTES):
                plain = bytes(payload[at : at + PRIVATE_PAGE_BYTES])
                plain = plain.ljust(_padded(len(plain)), b"\0")
                sealed += cipher.encrypt(_nonce(page), plain)
                page += 1
        return bytes(sealed)

    def open_answer(self, data: bytes, outputs: Sequence[TensorInfo]) -> list[bytes]:
        """Return the bytes of each output.

        Raises:
            FormatError: not the length of an answer of this model.
            VerificationError: not an answer to this question, or changed.
        """
        from cryptography.exceptions import InvalidTag

        parts = split_answer(data, outputs)
        label = ANSWER_LABEL.encode() + data[:ANSWER_NONCE_BYTES]
        cipher, page = _cipher(self.suite, self.context.export(label, KEY_BYTES)), 0
        opened = []
        for info, part in zip(outputs, parts, strict=True):
            plain = bytearray()
            for at in range(0, len(part), SLOT_BYTES):
                try:
                    slot = bytes(part[at : at + SLOT_BYTES])
                    plain += cipher.decrypt(_nonce(page), slot)
                except InvalidTag as error:
                    raise VerificationError(
                        "the answer does not verify: it was changed, or is not the "
                        "answer to this question",
                        hint=_ASK_AGAIN,
                    ) from error
                page += 1
            size = info.element_count * 4
            if any(plain[size:]):
                raise VerificationError(
                    "the answer has padding that is not zero", hint=_ASK_AGAIN
                )
            opened.append(bytes(plain[:size]))
        return opened


def _cipher(suite: int, key: bytes) -> Aead:
    from undercroft._format.suites import by_number

    known = by_number(suite)
    assert known is not None  # noqa: S101 a parsed header has no other
    return known.cipher(key)


def _nonce(page: int) -> bytes:
    return page.to_bytes(8, "little") + bytes(4)
