# SPDX-License-Identifier: Apache-2.0
"""Questions, as a device takes them, and answers, as an asker reads them."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import cbor2
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from generators.base import Fields, test_key, vector, x25519_public
from generators.page_vectors import AEGIS_128L, AES_256_GCM, CHACHA20_POLY1305, cipher
from generators.parts import header, io
from pyhpke import (
    AEADId,
    CipherSuite,
    ContextInterface,
    KDFId,
    KEMId,
    KEMKey,
    KEMKeyPair,
)

INFO = b"undercroft private io v1"
NONCE = bytes(range(60, 92))
SEALED_INPUT, SEALED_OUTPUT = 1, 2
BOTH = SEALED_INPUT | SEALED_OUTPUT

IMAGE = struct.pack("<192f", *(number / 8 for number in range(192)))
"""The input of the model of `header-ok`, [1, 3, 8, 8]."""
SCORES = struct.pack("<10f", *(0.5 - number for number in range(10)))
"""Its output, [1, 10]: 40 bytes, which are padded to 48."""


def encapsulated(
    device: str = "device",
    *,
    signed: bytes | None = None,
    info: bytes | None = None,
    ephemeral: str = "ephemeral",
) -> tuple[bytes, ContextInterface]:
    """Return `enc` and the context of an asker, not randomised."""
    suite = CipherSuite.new(
        KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES128_GCM
    )
    sender = X25519PrivateKey.from_private_bytes(test_key(ephemeral))
    recipient = X25519PublicKey.from_public_bytes(x25519_public(device))
    digest = hashlib.sha256(header() if signed is None else signed).digest()
    return suite.create_sender_context(
        KEMKey.from_pyca_cryptography_key(recipient),
        info=INFO + digest if info is None else info,
        eks=KEMKeyPair(
            KEMKey.from_pyca_cryptography_key(sender),
            KEMKey.from_pyca_cryptography_key(sender.public_key()),
        ),
    )


def u32(number: int) -> bytes:
    """Return four bytes, little-endian."""
    return number.to_bytes(4, "little")


def opening(
    flags: int = BOTH,
    *,
    device: str = "device",
    signed: bytes | None = None,
    info: bytes | None = None,
    said: int | None = None,
) -> bytes:
    """Return an opening; `said` are flags other than those that were sealed."""
    enc, context = encapsulated(device, signed=signed, info=info)
    tag = context.seal(b"", aad=u32(flags))
    return u32(flags if said is None else said) + enc + tag


def sealed_pages(
    key: bytes, tensors: Sequence[bytes], suite: int = AES_256_GCM, first: int = 0
) -> list[bytes]:
    """Return the sealed page of each tensor, which all have one."""
    return [
        cipher(key, suite)(number, tensor + bytes(-len(tensor) % 16))
        for number, tensor in enumerate(tensors, first)
    ]


def asking(expect: str, question: bytes, signed: bytes | None = None) -> Fields:
    """Return a vector of kind `question`."""
    signed = header() if signed is None else signed
    fields = {
        "kind": "question",
        "expect": expect,
        "device": test_key("device").hex(),
        "header": signed.hex(),
        "nonce": NONCE.hex(),
        "question": question.hex(),
    }
    if expect == "OK":
        _, context = encapsulated(signed=signed)
        key = context.export(b"question", 32)
        fields["ephemeral"] = test_key("ephemeral").hex()
        fields["question_key"] = key.hex()
        fields["answer_key"] = context.export(b"answer" + NONCE, 32).hex()
        fields["input"] = IMAGE.hex()
        fields["sealed_input"] = sealed_pages(key, [IMAGE])[0].hex()
    return fields


@vector
def question_ok() -> Fields:
    """Inputs and outputs are sealed."""
    return asking("OK", opening())


@vector
def question_ok_inputs_alone() -> Fields:
    """Inputs are sealed and outputs are not."""
    return asking("OK", opening(SEALED_INPUT))


@vector
def question_ok_outputs_alone() -> Fields:
    """Outputs are sealed and inputs are not."""
    return asking("OK", opening(SEALED_OUTPUT))


@vector
def question_empty() -> Fields:
    """No byte at all."""
    return asking("BAD_QUESTION", b"")


@vector
def question_truncated() -> Fields:
    """Its last byte is missing."""
    return asking("BAD_QUESTION", opening()[:-1])


@vector
def question_extended() -> Fields:
    """A byte stands behind its end."""
    return asking("BAD_QUESTION", opening() + b"\0")


@vector
def question_nothing_sealed() -> Fields:
    """Its flags, which are authentic, ask for nothing to be sealed."""
    return asking("BAD_QUESTION", opening(0))


@vector
def question_unknown_flag() -> Fields:
    """A flag, which is authentic, that this version does not know."""
    return asking("BAD_QUESTION", opening(BOTH | 4))


@vector
def question_flag_in_the_last_byte() -> Fields:
    """The highest flag, which is authentic."""
    return asking("BAD_QUESTION", opening(BOTH | 1 << 31))


@vector
def question_flags_changed() -> Fields:
    """It said that inputs and outputs are sealed, and now that inputs are."""
    return asking("NOT_AUTHENTIC", opening(BOTH, said=SEALED_INPUT))


@vector
def question_encapsulated_key_changed() -> Fields:
    """One bit of the encapsulated key is another."""
    good = opening()
    return asking("NOT_AUTHENTIC", good[:4] + bytes([good[4] ^ 1]) + good[5:])


@vector
def question_encapsulated_key_of_order_one() -> Fields:
    """An encapsulated key that makes an all-zero secret with every key."""
    good = opening()
    return asking("NOT_AUTHENTIC", good[:4] + bytes(32) + good[36:])


@vector
def question_tag_changed() -> Fields:
    """One bit of the tag is another."""
    good = opening()
    return asking("NOT_AUTHENTIC", good[:-1] + bytes([good[-1] ^ 0x80]))


@vector
def question_to_another_device() -> Fields:
    """It is sealed to another device's key."""
    return asking("NOT_AUTHENTIC", opening(device="other_device"))


@vector
def question_for_another_model() -> Fields:
    """It is bound to the header of another model."""
    return asking("NOT_AUTHENTIC", opening(signed=header({2: bytes(16)})))


@vector
def question_for_another_version() -> Fields:
    """It is bound to the header of another version of the model."""
    return asking("NOT_AUTHENTIC", opening(signed=header({3: 8})))


@vector
def question_of_another_protocol() -> Fields:
    """Its info begins as that of another version of the protocol."""
    digest = hashlib.sha256(header()).digest()
    return asking("NOT_AUTHENTIC", opening(info=INFO[:-1] + b"2" + digest))


@vector
def question_with_the_info_of_a_license() -> Fields:
    """Its info is empty, as that of a wrapped content key."""
    return asking("NOT_AUTHENTIC", opening(info=b""))


# ---- answers ----

TWO_OUTPUTS = io(outputs=[["left", 1, [1, 10]], ["right", 1, [10]]])


def answer_key(
    nonce: bytes = NONCE,
    *,
    signed: bytes | None = None,
    ephemeral: str = "ephemeral",
    label: bytes = b"answer",
) -> bytes:
    """Return the key of an answer to the question of `ephemeral`."""
    _, context = encapsulated(signed=signed, ephemeral=ephemeral)
    return context.export(label + nonce, 32)


def answering(
    expect: str,
    answer: bytes,
    *,
    signed: bytes | None = None,
    outputs: Sequence[bytes] = (),
) -> Fields:
    """Return a vector of kind `answer`."""
    fields = {
        "kind": "answer",
        "expect": expect,
        "ephemeral": test_key("ephemeral").hex(),
        "device_key": x25519_public("device").hex(),
        "header": (header() if signed is None else signed).hex(),
        "answer": answer.hex(),
    }
    if outputs:
        fields["outputs"] = " ".join(item.hex() for item in outputs)
    return fields


def good_answer(suite: int = AES_256_GCM) -> bytes:
    """Return an answer of the model of `header-ok`, or of that of another suite."""
    key = answer_key(signed=header({4: suite}))
    return NONCE + sealed_pages(key, [SCORES], suite)[0]


@vector
def answer_ok() -> Fields:
    """One output, in one page."""
    return answering("OK", good_answer(), outputs=[SCORES])


@vector
def answer_ok_of_aegis_128l() -> Fields:
    """The same of a model of AEGIS-128L."""
    signed = header({4: AEGIS_128L})
    return answering("OK", good_answer(AEGIS_128L), signed=signed, outputs=[SCORES])


@vector
def answer_ok_of_chacha20_poly1305() -> Fields:
    """The same of a model of ChaCha20-Poly1305."""
    signed = header({4: CHACHA20_POLY1305})
    sealed = good_answer(CHACHA20_POLY1305)
    return answering("OK", sealed, signed=signed, outputs=[SCORES])


def two_outputs() -> tuple[bytes, list[bytes], list[bytes]]:
    """Return header, outputs and their pages, of a model with two outputs."""
    signed, outputs = header({11: cbor2.dumps(TWO_OUTPUTS)}), [SCORES, SCORES[::-1]]
    return signed, outputs, sealed_pages(answer_key(signed=signed), outputs)


@vector
def answer_ok_of_two_outputs() -> Fields:
    """Two outputs, whose pages are numbered 0 and 1."""
    signed, outputs, pages = two_outputs()
    return answering("OK", NONCE + b"".join(pages), signed=signed, outputs=outputs)


@vector
def answer_outputs_exchanged() -> Fields:
    """Two outputs of one shape, each in the place of the other."""
    signed, _, pages = two_outputs()
    return answering("VERIFICATION", NONCE + b"".join(reversed(pages)), signed=signed)


@vector
def answer_one_output_twice() -> Fields:
    """The first of two outputs stands in both places."""
    signed, _, pages = two_outputs()
    return answering("VERIFICATION", NONCE + 2 * pages[0], signed=signed)


@vector
def answer_truncated() -> Fields:
    """Its last byte is missing."""
    return answering("FORMAT", good_answer()[:-1])


@vector
def answer_extended() -> Fields:
    """A byte stands behind its end."""
    return answering("FORMAT", good_answer() + b"\0")


@vector
def answer_nonce_changed() -> Fields:
    """One bit of the nonce is another."""
    good = good_answer()
    return answering("VERIFICATION", bytes([good[0] ^ 1]) + good[1:])


@vector
def answer_ciphertext_changed() -> Fields:
    """One bit of the ciphertext is another."""
    good = good_answer()
    return answering("VERIFICATION", good[:32] + bytes([good[32] ^ 1]) + good[33:])


@vector
def answer_tag_changed() -> Fields:
    """One bit of the tag is another."""
    good = good_answer()
    return answering("VERIFICATION", good[:-1] + bytes([good[-1] ^ 0x80]))


@vector
def answer_to_another_question() -> Fields:
    """It answers the question of another ephemeral key."""
    key = answer_key(ephemeral="other_device")
    return answering("VERIFICATION", NONCE + sealed_pages(key, [SCORES])[0])


@vector
def answer_of_another_model() -> Fields:
    """It is sealed below the header of another version of the model."""
    key = answer_key(signed=header({3: 8}))
    return answering("VERIFICATION", NONCE + sealed_pages(key, [SCORES])[0])


@vector
def answer_below_the_key_of_the_question() -> Fields:
    """A page of the other direction: sealed as an input is."""
    _, context = encapsulated()
    key = context.export(b"question", 32)
    return answering("VERIFICATION", NONCE + sealed_pages(key, [SCORES])[0])


@vector
def answer_padding_not_zero() -> Fields:
    """The last byte of its padding is 1."""
    page = SCORES + bytes(7) + b"\1"
    return answering("VERIFICATION", NONCE + sealed_pages(answer_key(), [page])[0])
